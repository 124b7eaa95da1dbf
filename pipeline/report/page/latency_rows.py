"""RQ4's tables of measured times, and the sentences around them."""

from __future__ import annotations

from typing import Any

from pipeline.report.analysis.latency import Cell, Latency, Timing
from pipeline.report.analysis.plan import Plan
from pipeline.report.page.latency_figures import pareto_panel
from pipeline.report.page.rows import Row, interval_cell, percentage, sign_tone
from pipeline.report.text.latency import machine_sentences, not_timed
from pipeline.report.text.wording import target_name


def latency_context(plan: Plan, latency: Latency) -> dict[str, Any]:
    """Everything the section shows; without timings only the sentence that says why there are none."""
    skipped = [f"`{name}` cannot decode sparse: {reason}." for name, reason in latency.facts.get("skipped", {}).items()]
    if latency.reason is not None:
        return {"reason": not_timed(latency), "skipped": skipped}
    return {
        "reason": None,
        "skipped": skipped,
        "machine": machine_sentences(latency),
        "figures": [
            pareto_panel(plan, cell, f"latency_{cell.batch}_{cell.context}")
            for cell in latency.cells
            if cell.dense is not None and any(timing.point for timing in cell.timings)
        ],
        "cells": [_speedup_table(plan, cell) for cell in latency.cells],
        "every": [_full_row(cell, timing) for cell in latency.cells for timing in cell.timings],
    }


def _speedup_table(plan: Plan, cell: Cell) -> Row:
    """Speed-ups at one batch and context: a row a method, a column a target."""
    dense = cell.dense_ms
    speedups = {(timing.method.name, timing.target): _speedup_cell(timing) for timing in cell.timings}
    return {
        "caption": f"Batch {cell.batch}, context {cell.context:,}; dense ({cell.dense_way}) {_ms(dense.value)} ms per "
        f"token, {_ms(dense.low)} to {_ms(dense.high)} ms beside different methods",
        "rows": [
            {"method": name, "cells": [speedups.get((name, target)) for target in plan.targets]}
            for name in dict.fromkeys(name for name, _ in speedups)
        ],
    }


def _speedup_cell(timing: Timing) -> Row:
    return interval_cell(timing.speedup, lambda value: f"{value:.2f}", sign_tone(timing.speedup, good=1, null=1.0))


def _full_row(cell: Cell, timing: Timing) -> Row:
    return {
        "method": timing.method.name,
        "target": target_name(timing.target),
        "batch": cell.batch,
        "context": f"{cell.context:,}",
        "ms": _ms(timing.measured),
        "step": interval_cell(timing.step, _ms),
        "router": _ms(timing.router_ms) if timing.router_ms else "0",
        "tokens": f"{timing.tokens:.3g}",
        "dense": _ms(timing.dense_ms),
        "skipped": percentage(timing.skipped, 0),
        "moved": percentage(timing.moved, 0),
        "kernels": f"{timing.kernels:.1f}",
        "copied": f"{timing.copy:.1f}",
        "load": f"{timing.load:.1f}",
    }


def _ms(value: float) -> str:
    return f"{value:.3g}"
