"""RQ2's figures beside the differences: heat maps of allocations, and differences task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page import style
from pipeline.report.page.figures import PANEL, in_points, interval_mark
from pipeline.report.page.style import INK, LOSS, MUTED, SEQUENTIAL, Figure
from pipeline.report.text.wording import points

STRONGEST = 0.7
"""Opacity of a cell in its full shade: text must stay readable on it."""
NUMBERED = 8
"""Blocks up to which cells show their number."""


def sparsity_panel(
    values: np.ndarray, projections: Sequence[str], title: str, name: str, span: float, signed: bool
) -> Figure:
    """A block x projection grid; `values[projection, block]` are sparsities, or differences of sparsities when
    `signed`.

    Strength of colour is |value| / span.
    """
    rows, columns = values.shape
    with style.styled():
        width = min(2 * PANEL, max(1.6, 0.7 + 0.24 * columns))
        figure = style.canvas(width, 0.24 * rows + 0.85)
        axes: Any = figure.add_subplot()
        for i, j in np.ndindex(rows, columns):
            value = float(values[i, j])
            colour = (SEQUENTIAL if value > 0 else LOSS) if signed else SEQUENTIAL
            alpha = round(min(abs(value) / span, 1.0) * STRONGEST, 3) if span > 0 else 0.0
            axes.add_artist(_cell(j, i, colour, alpha)).set_in_layout(False)
            if columns <= NUMBERED:
                text = points(value, 0) if signed else f"{100 * value:.0f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=7, color=INK).set_in_layout(False)
        axes.set_xlim(-0.5, columns - 0.5)
        axes.set_ylim(rows - 0.5, -0.5)
        axes.set_yticks(range(rows), projections)
        step = 1 if columns <= NUMBERED else 4
        axes.set_xticks(range(0, columns, step))
        axes.set_xlabel("block")
        axes.set_title(title, fontsize=9.5)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return style.to_svg(figure, name, f"{title}: sparsity of every block and projection.")


def task_panel(comparison: TaskComparison, alpha: float, title: str, name: str) -> Figure:
    """One row per task, the best on top: the difference with its interval, coloured where it is claimed."""
    rows = comparison.rows
    with style.styled():
        figure = style.canvas(PANEL * 1.12, 0.24 * len(rows) + 0.95)
        axes: Any = figure.add_subplot()
        axes.axvline(0, color=INK, lw=1)
        for height, row in enumerate(rows):
            is_shown = row.p_corrected < alpha
            colour = (SEQUENTIAL if row.gap.value > 0 else LOSS) if is_shown else MUTED
            size, width = (6.5, 2.2) if is_shown else (5, 1.3)
            interval_mark(axes, in_points(row.gap), height, colour, size, "o", width)
        axes.set_yticks(range(len(rows)), [style.label(row.task) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("accuracy, percentage points")
        axes.set_title(title, fontsize=9.5)
        worst, best = rows[0], rows[-1]
        ends = f"worst {worst.task} {points(worst.gap.value)}, best {best.task} {points(best.gap.value)}"
        return style.to_svg(figure, name, f"{title}, task by task: {ends}.")


def _cell(column: float, row: float, colour: str, alpha: float) -> PathPatch:
    left, top = column - 0.47, row - 0.46
    corners = [(left, top), (left + 0.94, top), (left + 0.94, top + 0.92), (left, top + 0.92), (left, top)]
    return PathPatch(Path(corners, closed=True), facecolor=colour, edgecolor="none", alpha=alpha)
