"""RQ4's measured part in words: whether skipping weights saved time, and how it was measured."""

from __future__ import annotations

from typing import Any

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.latency import Cell, Latency, Timing
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.decision import RELEVANT
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import listed, percent, target_name
from pipeline.statistics.bootstrap import Interval


def latency_answer(plan: Plan, findings: Findings) -> tuple[str, str, str, tuple[str, ...]]:
    """Answer, tone, one sentence and what is folded, decided at the smallest batch and shortest context."""
    timings = findings.latency
    if timings.reason is not None:
        return "Counted, not timed", "open", "FLOPs are counted; nothing was timed.", (not_timed(timings),)
    first, *others = timings.cells
    deployable = [timing for timing in first.timings if timing.is_deployable]
    if not deployable:
        return "Not asked", "open", "No method that can be deployed was timed.", ()
    faster = [timing for timing in deployable if timing.speedup.low > 1]  # at least three of four rounds were
    safe = [timing for timing in faster if timing.point is not None and timing.point.loss.high < RELEVANT]
    best = max(safe or deployable, key=lambda timing: timing.speedup.value)
    sentence = (
        f"{display_name(plan, best.method)} at {target_name(best.target)} decodes {speedup(best.speedup)} times as "
        f"fast as the dense model ({first.dense_way}, {best.row.dense_ms:.3g} ms a token) at batch {first.batch}, "
        f"context {first.context:,}."
    )
    folded = (*_elsewhere(others, best), *busy(timings))
    if safe:
        return f"Yes: {best.speedup.value:.2f} times as fast", "yes", sentence, folded
    if faster:
        is_loss = best.point is not None and best.point.loss.low > 0
        return "Faster, but at a loss" if is_loss else "Faster; a loss is not ruled out", "open", sentence, folded
    return "No: not faster than dense", "no", sentence, folded


def not_timed(timings: Latency) -> str:
    """The reason why nothing was timed, as a sentence."""
    return f"Nothing was timed: {timings.reason}."


def speedup(interval: Interval) -> str:
    """ "1.31 [1.25, 1.38]"; quartiles."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


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
        f"The sparse and the dense model decode the same {facts.get('steps', '?')} tokens after the same dense "
        "context, interleaved token by token; shown are medians and quartiles of the rounds. Routing happens once per "
        f"prompt; its time is divided by {facts.get('answer_tokens', '?')} tokens.",
        *map(_dense_baseline, facts.get("dense", [])),
        *busy(timings),
    ]


def busy(timings: Latency) -> list[str]:
    """A warning if more programs than cores wanted to run during any timing."""
    cores = timings.facts.get("machine", {}).get("cores") or 0
    most = max(timing.row.load for cell in timings.cells for timing in cell.timings)
    if most <= cores:
        return []
    return [f"The machine was busy (load up to {most:.1f} on {cores} cores): repeat the timing before relying on it."]


def _dense_baseline(row: dict[str, Any]) -> str:
    tried = [f"{way} {ms:.3g}" for way, ms in row["ms"].items()]
    failed = [f"{way} did not work ({reason})" for way, reason in row["failed"].items()]
    where = f"batch {row['batch']}, context {row['context']:,}"
    return f"Dense model at {where}, ms a token: {listed([*tried, *failed])}; the baseline is {row['chosen']}."


def _elsewhere(cells: list[Cell], best: Timing) -> list[str]:
    """The same operating point at other batches and contexts."""
    shown = [
        f"{speedup(timing.speedup)} at batch {cell.batch}, context {cell.context:,}"
        for cell in cells
        for timing in cell.timings
        if (timing.method.name, timing.target) == (best.method.name, best.target)
    ]
    moved = f"A step reads {percent(best.moved, 0)} of the dense step's bytes."
    return [moved, *([f"The same point elsewhere: {listed(shown)}."] if shown else [])]
