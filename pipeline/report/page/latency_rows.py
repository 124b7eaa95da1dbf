"""The RQ4 section's tables about time, and what stands around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.latency import Cell, Latency, Timing
from pipeline.report.analysis.plan import Plan
from pipeline.report.page.latency_figures import pareto_panel
from pipeline.report.page.rows import Row, fraction
from pipeline.report.page.style import Figure
from pipeline.report.text.latency import machine_sentences, not_timed
from pipeline.report.text.wording import target_name
from pipeline.statistics.bootstrap import Interval

Keep = Callable[[Figure], Figure]
"""Notes a figure that was drawn, and hands it back."""


def latency_context(plan: Plan, findings: Findings, keep: Keep) -> dict[str, Any]:
    """Everything the section shows; without timings only the sentence that says why there are none."""
    found = findings.latency
    if found.reason is not None:
        return {"reason": not_timed(found), "skipped": _skipped(found)}
    return {
        "reason": None,
        "skipped": _skipped(found),
        "machine": machine_sentences(found),
        "figures": [
            keep(pareto_panel(plan, cell, f"latency_{cell.batch}_{cell.context}"))
            for cell in found.cells
            if cell.dense is not None and any(one.point for one in cell.timings)
        ],
        "cells": [_cell_table(plan, cell) for cell in found.cells],
        "every": [row for cell in found.cells for row in _full_rows(cell)],
    }


def _cell_table(plan: Plan, cell: Cell) -> Row:
    """Speed-ups of a batch and context: a row a method, a column a target."""
    dense = cell.dense_ms
    names = dict.fromkeys(one.method.name for one in cell.timings)
    return {
        "caption": f"Batch {cell.batch}, context {cell.context:,}; dense ({cell.dense_way}) {_ms(dense.value)} ms a "
        f"token, between {_ms(dense.low)} and {_ms(dense.high)} ms beside different methods",
        "rows": [{"method": name, "cells": _speedups(plan, cell.timings, name)} for name in names],
    }


def _speedups(plan: Plan, timings: Sequence[Timing], name: str) -> list[Row | None]:
    mine = {one.target: one for one in timings if one.method.name == name}
    return [_speedup(mine[target]) if target in mine else None for target in plan.targets]


def _speedup(one: Timing) -> Row:
    tone = "up" if one.speedup.low > 1 else "down" if one.speedup.high < 1 else ""
    return {"value": f"{one.speedup.value:.2f}", **_ends(one.speedup, 2), "tone": tone}


def _full_rows(cell: Cell) -> list[Row]:
    return [
        {
            "starts": number == 0 or cell.timings[number - 1].method != one.method,
            "method": one.method.name,
            "target": target_name(one.target),
            "batch": cell.batch,
            "context": f"{cell.context:,}",
            "ms": _ms(one.measured),
            "step": {"value": _ms(one.step.value), "low": _ms(one.step.low), "high": _ms(one.step.high), "tone": ""},
            "router": _ms(one.router_ms) if one.router_ms else "0",
            "tokens": f"{one.tokens:.3g}",
            "dense": _ms(one.dense_ms),
            "skipped": fraction(one.skipped, 0),
            "moved": fraction(one.moved, 0),
            "kernels": f"{one.kernels:.1f}",
            "copied": f"{one.copy:.1f}",
            "load": f"{one.load:.1f}",
        }
        for number, one in enumerate(cell.timings)
    ]


def _skipped(found: Latency) -> list[str]:
    return [f"`{name}` cannot decode sparse: {reason}." for name, reason in found.facts.get("skipped", {}).items()]


def _ends(interval: Interval, decimals: int) -> dict[str, str]:
    return {"low": f"{interval.low:.{decimals}f}", "high": f"{interval.high:.{decimals}f}"}


def _ms(value: float) -> str:
    return f"{value:.3g}"
