"""Sentences about RQ4: whether skipping weights saved time, and at what loss of accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.latency import Cell, Latency, Timing
from pipeline.report.text.rules import TOLERANCE
from pipeline.report.text.wording import listed, percent, points_interval, target_name
from pipeline.statistics.bootstrap import Interval

Answer = tuple[str, str, list[str]]
"""Tag, tone and sentences of a verdict."""


def latency_answer(findings: Findings) -> Answer:
    """The answer of the timings to RQ4, decided at the smallest batch and shortest context."""
    timings = findings.latency
    if timings.reason is not None:
        sentence = f"{not_timed(timings)} FLOPs are counted below; they are not a claim about speed."
        return "Counted, not timed", "open", [sentence]
    tag, tone, sentences = _answer(timings.cells)
    return tag, tone, [*sentences, *_busy(timings)]


def is_faster(timing: Timing) -> bool:
    """Whether at least three of four rounds were faster than the dense model: the lower quartile is above 1."""
    return timing.speedup.low > 1


def is_safe(timing: Timing) -> bool:
    """Whether it is shown to lose less than `TOLERANCE`."""
    return timing.point is not None and timing.point.loss.high < TOLERANCE


def not_timed(timings: Latency) -> str:
    """The reason why nothing was timed, as a sentence."""
    return f"Nothing was timed: {timings.reason}."


def machine_sentences(timings: Latency) -> list[str]:
    """The machine, the model and the protocol of the timings, and the dense baselines that were tried."""
    facts = timings.facts
    machine: dict[str, Any] = facts.get("machine", {})
    names = ("torch", "transformers", "numba", "triton")
    versions = listed([f"{name} {machine[name]}" for name in names if machine.get(name)] or ["unknown versions"])
    processor = f"CUDA {machine['cuda']}" if "cuda" in machine else f"threads: {machine.get('threads')}"
    return [
        f"{machine.get('device', 'an unnamed device')} ({machine.get('cores', '?')} cores, {processor}), Python "
        f"{machine.get('python', '?')}, {versions}; {facts.get('dtype', '?')}, {facts.get('weights_mb', 0):,.0f} MB of "
        f"weights under masks, last-level cache {facts.get('cache_mb', 0):,.0f} MB.",
        f"The sparse and the dense model decode the same {facts.get('steps', '?')} tokens of test text after the same "
        "dense context, with the same kind of cache, interleaved token by token; shown are medians and quartiles of "
        "the rounds.",
        f"Routing happens once per prompt; its time is divided by {facts.get('answer_tokens', '?')} tokens.",
        *map(_dense_baseline, facts.get("dense", [])),
    ]


def _answer(cells: Sequence[Cell]) -> Answer:
    first, *others = cells
    deployable = [timing for timing in first.timings if timing.is_deployable]
    if not deployable:
        return "Not asked", "open", ["No method that can be deployed was timed."]
    faster = [timing for timing in deployable if is_faster(timing)]
    safe = [timing for timing in faster if is_safe(timing)]
    best = max(safe or deployable, key=lambda timing: timing.speedup.value)
    sentences = [_operating(first, best), *_elsewhere(others, best)]
    if safe:
        return f"Yes: {best.speedup.value:.2f} times as fast", "yes", sentences
    if faster:
        bound = f"No point that is faster is shown to lose under {100 * TOLERANCE:g} points of test accuracy."
        return "Faster, but at a loss", "mixed", [bound, *sentences]
    return "No: not faster than dense", "no", ["No operating point is faster than the dense model.", *sentences]


def _dense_baseline(row: dict[str, Any]) -> str:
    tried = [f"{way} {ms:.3g}" for way, ms in row["ms"].items()]
    failed = [f"{way} did not work ({reason})" for way, reason in row["failed"].items()]
    where = f"batch {row['batch']}, context {row['context']:,}"
    return f"Dense model at {where}, ms a token: {listed([*tried, *failed])}; the baseline is {row['chosen']}."


def _operating(cell: Cell, timing: Timing) -> str:
    loss = ""
    if timing.point is not None:
        loss = f", with an accuracy loss of {points_interval(timing.point.loss).removeprefix('+')} points"
    return (
        f"`{timing.method.name}` at target {target_name(timing.target)} takes {timing.measured:.3g} ms a token and the "
        f"dense model ({cell.dense_way}) {timing.dense_ms:.3g}: a speed-up of {_speedup(timing.speedup)} at batch "
        f"{cell.batch}, context {cell.context:,}{loss}; a step reads {percent(timing.moved, 0)} of the dense step's "
        "bytes."
    )


def _elsewhere(cells: Sequence[Cell], best: Timing) -> list[str]:
    """The same operating point at other batches and contexts."""
    speedups = [
        f"{_speedup(timing.speedup)} at batch {cell.batch}, context {cell.context:,}"
        for cell in cells
        for timing in cell.timings
        if (timing.method.name, timing.target) == (best.method.name, best.target)
    ]
    return [f"Speed-up of the same point elsewhere: {listed(speedups)}."] if speedups else []


def _busy(timings: Latency) -> list[str]:
    """A warning if more programs than cores wanted to run during any timing."""
    cores = timings.facts.get("machine", {}).get("cores") or 0
    most = max(timing.load for cell in timings.cells for timing in cell.timings)
    if most <= cores:
        return []
    return [f"The machine was busy (load up to {most:.1f} on {cores} cores): repeat the timing before relying on it."]


def _speedup(speedup: Interval) -> str:
    return f"{speedup.value:.2f} [{speedup.low:.2f}, {speedup.high:.2f}]"
