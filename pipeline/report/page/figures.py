"""Every figure of the report. Small panels rather than one wide picture, so that they reflow on a phone.

Functions take finished numbers and draw them; nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from pipeline.report.analysis.accuracy import Comparison, Point
from pipeline.report.analysis.labels import ORDERED, Label
from pipeline.report.analysis.matched_compute import are_alike
from pipeline.report.analysis.plan import ASSIGNED, Method, Plan
from pipeline.report.page import style
from pipeline.report.page.style import GRID, INK, MUTED, PAPER, SEQUENTIAL, Figure
from pipeline.report.text.wording import level_name, target_name
from pipeline.statistics.bootstrap import Interval

PANEL = 4.2
"""Width of a standard panel in inches (403 px in the page): two stand side by side, one fills a phone."""
DOT = 2.4
LEGEND_CHARACTERS = 48
"""Characters of legend that fit under a panel."""


def method_colour(plan: Plan, method: Method) -> str:
    """One colour per profile set and kind of mask, so that the same profiles under different routers share it."""
    looks = list(dict.fromkeys((other.profile, other.mask) for other in plan.sparse))
    return INK if method.is_dense else style.series(looks.index((method.profile, method.mask)))


def method_marker(plan: Plan, method: Method) -> str:
    """One marker per source of groups: a circle for assigned groups, then one per router."""
    sources = [ASSIGNED, *plan.routers, *plan.benefit_routers]
    return style.MARKERS[sources.index(method.groups) % len(style.MARKERS)] if not method.is_dense else "o"


def map_panel(x: np.ndarray, y: np.ndarray, label: Label, title: str, name: str) -> Figure:
    """The map of all samples, coloured by a label with few values; each value is named at its own centre."""
    with style.styled():
        figure = style.canvas(PANEL, PANEL * 0.86)
        axes = _map_axes(figure.add_subplot(), x, y, title)
        looks = _looks(label)
        for code in range(len(label.values)):
            mine = label.codes == code
            _dots(axes, x[mine], y[mine], *looks[code])
        _legend_row(axes, label.values, looks)
        return style.finish(figure, name, f"Map of all samples coloured by {label.title}: {', '.join(label.values)}.")


def map_facets(x: np.ndarray, y: np.ndarray, label: Label, title: str, name: str) -> Figure:
    """The map once per value of a label with many values, that value's samples in colour over all others in grey."""
    columns = 4
    rows = -(-len(label.values) // columns)
    with style.styled():
        figure = style.canvas(2 * PANEL, 1.75 * rows + 0.3)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold", color=INK)
        grid: Any = figure.subplots(rows, columns, squeeze=False)
        for code, axes in enumerate(grid.ravel()):
            if code >= len(label.values):
                axes.set_axis_off()
                continue
            _map_axes(axes, x, y, "")
            axes.set_title(label.values[code], fontsize=9, fontweight="normal", color=INK)
            mine = label.codes == code
            _dots(axes, x[~mine], y[~mine], GRID, 1.0, 1.2)
            _dots(axes, x[mine], y[mine], SEQUENTIAL, 0.75, 1.8)
        return style.finish(figure, name, f"Map of all samples, one panel per {label.title}.")


def accuracy_panel(plan: Plan, points: Sequence[Point], title: str, name: str) -> Figure:
    """Accuracy against the remaining share of the dense model's FLOPs, one line per method."""
    with style.styled():
        figure = style.canvas(PANEL * 1.08, PANEL * 0.86)
        axes: Any = figure.add_subplot()
        dense = next(point for point in points if point.method.is_dense)
        axes.axhline(100 * dense.accuracy.value, color=INK, lw=1, ls=(0, (4, 3)))
        axes.annotate("dense", (1, 100 * dense.accuracy.value), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                      textcoords="offset points", ha="right", color=INK, fontsize=8.5)  # fmt: skip
        for method in plan.sparse:
            mine = [point for point in points if point.method == method]
            _accuracy_line(plan, axes, method, mine)
        axes.invert_xaxis()
        axes.set_xlabel("FLOPs that remain, % of dense")
        axes.set_ylabel("accuracy, %")
        axes.set_title(title)
        return style.finish(figure, name, f"{title}: accuracy against remaining FLOPs for {len(plan.sparse)} methods.")


def difference_panel(plan: Plan, rows: Sequence[Comparison], name: str) -> Figure:
    """Grouped methods minus the pooled method of their own configuration at equal realised compute: a column per target
    and one for the mean, a row per method. A column's head has the median level of its pairs, in FLOPs that remain; a
    pair that was read at another one says so beside its mark.
    """
    usual = [*(_usual_level([row.levels[i] for row in rows]) for i in range(len(plan.targets))), None]
    heads = [*map(target_name, plan.targets), "mean"]
    with style.styled():
        figure = style.canvas(2.2 * PANEL, 0.3 * len(rows) + 1.15)
        columns: Any = figure.subplots(1, len(heads), sharex=True, sharey=True, squeeze=False)[0]
        for i, axes in enumerate(columns):
            axes.axvline(0, color=INK, lw=1)
            for at, row in enumerate(rows):
                gap, level, is_mean = (*row.at_levels, row.mean)[i], (*row.levels, None)[i], axes is columns[-1]
                if gap is None:
                    continue
                colour, marker = method_colour(plan, row.method), method_marker(plan, row.method)
                interval_mark(axes, in_points(gap), at, colour, 7 if is_mean else 5.5, marker, 2.6 if is_mean else 1.5)
                if level is not None and not are_alike((level,), (usual[i],)):
                    _level_mark(axes, 100 * gap.high, at, level)
            axes.set_title(heads[i], fontsize=9.5, pad=15)
            _level_head(axes, usual[i])
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.spines["left"].set_visible(False)
        columns[0].set_yticks(range(len(rows)), [row.method.name for row in rows])
        columns[0].set_ylim(len(rows) - 0.4, -0.6)
        told = (
            "accuracy minus that of the configuration's pooled method, percentage points\n"
            "columns: targets; grey: FLOPs that remain where pairs are read, % of dense, beside a mark if it is another"
        )
        figure.supxlabel(told, fontsize=9, color=MUTED)
        alt = f"Accuracy minus the pooled method's at equal realised compute, with intervals, for {len(rows)} methods."
        return style.finish(figure, name, alt)


def legend(plan: Plan) -> list[Mapping[str, str]]:
    """What the page's legend shows for every sparse method: name, colour variable and marker."""
    return [
        {
            "name": method.name,
            "colour": f"var({style.VARIABLES[method_colour(plan, method)]})",
            "marker": method_marker(plan, method),
        }
        for method in plan.sparse
    ]


def interval_mark(
    axes: Any, interval: Interval, at: float, colour: str, size: float, marker: str, width: float
) -> None:
    """A marker at the estimate on a line from end to end, along x at height `at`."""
    axes.plot([interval.low, interval.high], [at, at], color=colour, lw=width, solid_capstyle="round", alpha=0.75)
    axes.plot(interval.value, at, marker, color=colour, ms=size, mec=PAPER, mew=0.7)


def in_points(interval: Interval) -> Interval:
    """A difference of shares in percentage points."""
    return Interval(100 * interval.value, 100 * interval.low, 100 * interval.high)


def _map_axes(axes: Any, x: np.ndarray, y: np.ndarray, title: str) -> Any:
    for values, limit in ((x, axes.set_xlim), (y, axes.set_ylim)):
        margin = 0.04 * float(np.ptp(values)) or 1.0
        limit(values.min() - margin, values.max() + margin)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    if title:
        axes.set_title(title)
    return axes


def _usual_level(found: Sequence[float | None]) -> float | None:
    """The median level of a column; None where there is none."""
    known = sorted(level for level in found if level is not None)
    return known[len(known) // 2] if known else None


def _level_head(axes: Any, level: float | None) -> None:
    if level is not None:
        axes.annotate(f"at {level_name(level)}", (0, 1), xycoords="axes fraction", xytext=(0, 4),
                      textcoords="offset points", fontsize=8, color=MUTED)  # fmt: skip


def _level_mark(axes: Any, x: float, at: float, level: float) -> None:
    axes.annotate(f"at {level_name(level)}", (x, at), xytext=(3, 0), textcoords="offset points", ha="left", va="center",
                  fontsize=6.5, color=MUTED).set_in_layout(False)  # fmt: skip


def _dots(axes: Any, x: np.ndarray, y: np.ndarray, colour: str, alpha: float, size: float = DOT) -> None:
    # One path of zero-length strokes with round caps draws all dots of a category: a tenth of the bytes of a scatter.
    vertices = np.repeat(np.stack([x, y], axis=1), 2, axis=0)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(x))
    if len(x):
        path = Path(vertices, codes)
        patch = PathPatch(path, facecolor="none", edgecolor=colour, lw=size, capstyle="round", alpha=alpha)
        axes.add_artist(patch).set_in_layout(False)


def _looks(label: Label) -> list[tuple[str, float]]:
    """Colour and opacity of every value: one hue growing stronger where values have an order, else one hue each."""
    if label.name in ORDERED:
        return [(SEQUENTIAL, round(float(alpha), 2)) for alpha in np.linspace(0.25, 1.0, len(label.values))]
    return [(style.series(code), 0.7) for code in range(len(label.values))]


def _legend_row(axes: Any, names: Sequence[str], looks: Sequence[tuple[str, float]]) -> None:
    handles = [axes.plot([], [], "o", ms=5, mew=0, color=colour, alpha=alpha)[0] for colour, alpha in looks]
    columns = min(len(names), max(1, LEGEND_CHARACTERS // (max(map(len, names)) + 4)))
    axes.legend(handles, names, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=columns, frameon=False,
                fontsize=8.5, handletextpad=0.1, columnspacing=1.0, labelcolor=INK)  # fmt: skip


def _accuracy_line(plan: Plan, axes: Any, method: Method, mine: Sequence[Point]) -> None:
    colour, marker = method_colour(plan, method), method_marker(plan, method)
    is_baseline = method.name == plan.baseline
    for point in mine:
        ends = [100 * point.accuracy.low, 100 * point.accuracy.high]
        axes.plot([100 * point.compute] * 2, ends, color=colour, lw=1, alpha=0.45)
    axes.plot([100 * point.compute for point in mine], [100 * point.accuracy.value for point in mine], marker=marker,
              color=colour, ms=5.5, mec=PAPER, mew=0.7, lw=2.6 if is_baseline else 1.3,
              ls=(0, (2, 1.5)) if method.is_control else "-")  # fmt: skip
