"""RQ4 in words: whether skipping weights saved time, and at what loss. Made from the timings by rules fixed before."""

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
    """What the timings say about RQ4; decided at the smallest batch and shortest context."""
    found = findings.latency
    if found.reason is not None:
        sentence = f"{not_timed(found)} Counted FLOPs follow; they are no claim about speed."
        return "Counted, not timed", "open", [sentence]
    tag, tone, sentences = _judged(found.cells)
    return tag, tone, [*sentences, *_busy(found)]


def is_faster(one: Timing) -> bool:
    """Whether at least three of four rounds were faster than the dense model: the lower quartile is above 1."""
    return one.speedup.low > 1


def is_safe(one: Timing) -> bool:
    """Whether it is shown to lose less than `TOLERANCE`."""
    return one.point is not None and one.point.loss.high < TOLERANCE


def not_timed(found: Latency) -> str:
    """Why nothing was timed, as a sentence."""
    return f"Nothing was timed: {found.reason}."


def machine_sentences(found: Latency) -> list[str]:
    """What was timed, on what, and how."""
    facts = found.facts
    about: dict[str, Any] = facts.get("machine", {})
    versions = [f"{name} {about[name]}" for name in ("torch", "transformers", "numba", "triton") if about.get(name)]
    threads = f", threads: {about.get('threads')}" if "cuda" not in about else f", CUDA {about['cuda']}"
    return [
        f"{about.get('device', 'an unnamed device')} ({about.get('cores', '?')} cores{threads}), Python "
        f"{about.get('python', '?')}, {listed(versions) or 'unknown versions'}; {facts.get('dtype', '?')}, "
        f"{facts.get('weights_mb', 0):,.0f} MB of weights under masks, last-level cache "
        f"{facts.get('cache_mb', 0):,.0f} MB.",
        f"Both sides decode the same {facts.get('steps', '?')} tokens of test text behind the same dense context, on "
        "the same kind of cache, and take turns token by token; shown are medians and quartiles of the rounds.",
        f"Routing happens once a prompt and is spread over {facts.get('answer_tokens', '?')} tokens.",
        *_baselines(facts.get("dense", [])),
    ]


def _judged(cells: Sequence[Cell]) -> Answer:
    first, *others = cells
    deployable = [one for one in first.timings if one.is_deployable]
    if not deployable:
        return "Not asked", "open", ["Of what was timed nothing can be deployed, so it answers nothing."]
    faster = [one for one in deployable if is_faster(one)]
    safe = [one for one in faster if is_safe(one)]
    if safe:
        best = max(safe, key=lambda one: one.speedup.value)
        sentences = [_operating(first, best), *_elsewhere(others, best)]
        return f"Yes: {best.speedup.value:.2f} times as fast", "yes", sentences
    best = max(deployable, key=lambda one: one.speedup.value)
    told = [_operating(first, best), *_elsewhere(others, best)]
    if faster:
        bound = f"No point that is faster is shown to lose under {100 * TOLERANCE:g} points of test accuracy."
        return "Faster, but at a loss", "mixed", [bound, *told]
    return "No: not faster than dense", "no", ["No operating point is faster than the dense model.", *told]


def _baselines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the dense model was tried in; nothing where all timings are older than the run."""
    told: list[str] = []
    for row in rows:
        tried = [f"{way} {ms:.3g}" for way, ms in row["ms"].items()]
        failed = [f"{way} did not work ({reason})" for way, reason in row["failed"].items()]
        place = f"batch {row['batch']}, context {row['context']:,}"
        told.append(f"Dense, {place}, ms a token: {listed([*tried, *failed])}; compared with {row['chosen']}.")
    return told


def _operating(cell: Cell, one: Timing) -> str:
    lost = ""
    if one.point is not None:
        lost = f" and loses {points_interval(one.point.loss).removeprefix('+')} points"
    return (
        f"`{one.method.name}` at target {target_name(one.target)} takes {one.measured:.3g} ms a token where dense "
        f"({cell.dense_way}) takes {one.dense_ms:.3g}, {_times(one.speedup)} times as fast (batch {cell.batch}, "
        f"context {cell.context:,}){lost}; a step reads {percent(one.moved, 0)} of the dense step's bytes."
    )


def _elsewhere(cells: Sequence[Cell], best: Timing) -> list[str]:
    """The same operating point at other batches and contexts."""
    key = (best.method.name, best.target)
    found = [
        f"{_times(one.speedup)} times as fast at batch {cell.batch}, context {cell.context:,}"
        for cell in cells
        for one in cell.timings
        if (one.method.name, one.target) == key
    ]
    return [f"The same point elsewhere: {listed(found)}."] if found else []


def _busy(found: Latency) -> list[str]:
    """A warning if more programs than cores wanted to run while anything was timed."""
    cores = found.facts.get("machine", {}).get("cores") or 0
    most = max(one.load for cell in found.cells for one in cell.timings)
    if most <= cores:
        return []
    return [f"The machine was busy (load up to {most:.1f} on {cores} cores): time again before relying on this."]


def _times(speedup: Interval) -> str:
    return f"{speedup.value:.2f} [{speedup.low:.2f}, {speedup.high:.2f}]"
