"""Accuracy against measured latency, one panel for every batch and context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report.analysis.latency import Cell, Timing
from pipeline.report.analysis.plan import Plan
from pipeline.report.page import style
from pipeline.report.page.figures import PANEL, method_colour, method_marker
from pipeline.report.page.style import INK, MUTED, PAPER, Figure


def pareto_panel(plan: Plan, cell: Cell, name: str) -> Figure:
    """One line per method through its targets, the dense model as a diamond, the frontier as a grey band of steps.

    Crosses are quartiles of the latency and intervals of the accuracy. Methods that cannot be deployed are dashed.

    Raises:
        ValueError: there is no accuracy to draw.
    """
    dense = cell.dense
    if dense is None:
        raise ValueError("a figure of accuracies needs some")
    title = f"Batch {cell.batch}, context {cell.context:,}"
    with style.styled():
        figure = style.canvas(PANEL * 1.08, PANEL * 0.9)
        axes: Any = figure.add_subplot()
        _frontier(axes, cell)
        for method in plan.sparse:
            timings = [timing for timing in cell.timings if timing.method == method and timing.point is not None]
            if timings:
                _line(plan, axes, timings)
        x, y = cell.dense_ms.value, 100 * dense.accuracy.value
        axes.axvline(x, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        axes.plot(x, y, "D", color=INK, ms=6.5, mec=PAPER, mew=0.8, zorder=5)
        axes.annotate("dense", (x, 0), xycoords=("data", "axes fraction"), xytext=(-4, 5), textcoords="offset points",
                      ha="right", color=INK, fontsize=8.5)  # fmt: skip
        axes.margins(x=0.06, y=0.08)
        axes.set_xlabel("milliseconds per token (left is faster)")
        axes.set_ylabel("accuracy, %")
        axes.set_title(title)
        methods = len({timing.method.name for timing in cell.timings})
        return style.to_svg(figure, name, f"{title}: accuracy against milliseconds per token for {methods} methods.")


def _frontier(axes: Any, cell: Cell) -> None:
    x, y = zip(*cell.frontier, strict=True)
    axes.step(x, [100 * value for value in y], where="post", color=MUTED, lw=9, alpha=0.3, solid_capstyle="round",
              solid_joinstyle="round", zorder=1)  # fmt: skip


def _line(plan: Plan, axes: Any, timings: Sequence[Timing]) -> None:
    method = timings[0].method
    colour, marker = method_colour(plan, method), method_marker(plan, method)
    points = [(timing.ms, timing.point.accuracy) for timing in timings if timing.point is not None]
    for ms, accuracy in points:
        axes.plot([ms.low, ms.high], [100 * accuracy.value] * 2, color=colour, lw=1, alpha=0.4)
        axes.plot([ms.value] * 2, [100 * accuracy.low, 100 * accuracy.high], color=colour, lw=1, alpha=0.4)
    axes.plot([ms.value for ms, _ in points], [100 * accuracy.value for _, accuracy in points], marker=marker,
              color=colour, ms=5.5, mec=PAPER, mew=0.7, lw=2.2 if method.name == plan.baseline else 1.3,
              ls="-" if timings[0].is_deployable else (0, (2, 1.5)), zorder=3)  # fmt: skip
