"""Figures of maps, accuracies and differences, and the colours and markers of methods.

Small panels rather than one wide picture, so that they reflow on a phone. Functions draw finished numbers; nothing is
computed here.
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
from pipeline.report.text.wording import remaining_compute, target_name
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
    """The map of all samples, coloured by a label with few values; each value is named in a legend below."""
    with style.styled():
        figure = style.canvas(PANEL, PANEL * 0.86)
        axes = _map_axes(figure.add_subplot(), x, y, title)
        looks = _looks(label)
        for code, look in enumerate(looks):
            is_shown = label.codes == code
            _dots(axes, x[is_shown], y[is_shown], *look)
        _legend_row(axes, label.values, looks)
        return style.to_svg(figure, name, f"Map of all samples coloured by {label.title}: {', '.join(label.values)}.")


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
            axes.set_title(style.label(label.values[code]), fontsize=9, fontweight="normal", color=INK)
            is_shown = label.codes == code
            _dots(axes, x[~is_shown], y[~is_shown], GRID, 1.0, 1.2)
            _dots(axes, x[is_shown], y[is_shown], SEQUENTIAL, 0.75, 1.8)
        return style.to_svg(figure, name, f"Map of all samples, one panel per {label.title}.")


def accuracy_panel(plan: Plan, points: Sequence[Point], title: str, name: str) -> Figure:
    """Accuracy against the remaining FLOPs, in percent of the dense model's, one line per method."""
    with style.styled():
        figure = style.canvas(PANEL * 1.08, PANEL * 0.86)
        axes: Any = figure.add_subplot()
        dense = next(point for point in points if point.method.is_dense)
        axes.axhline(100 * dense.accuracy.value, color=INK, lw=1, ls=(0, (4, 3)))
        axes.annotate("dense", (1, 100 * dense.accuracy.value), xycoords=("axes fraction", "data"), xytext=(-2, 3),
                      textcoords="offset points", ha="right", color=INK, fontsize=8.5)  # fmt: skip
        for method in plan.sparse:
            _accuracy_line(plan, axes, method, [point for point in points if point.method == method])
        axes.invert_xaxis()
        axes.set_xlabel("remaining FLOPs, % of dense")
        axes.set_ylabel("accuracy, %")
        axes.set_title(title)
        return style.to_svg(figure, name, f"{title}: accuracy against remaining FLOPs for {len(plan.sparse)} methods.")


def difference_panel(plan: Plan, rows: Sequence[Comparison], name: str) -> Figure:
    """Grouped methods minus the pooled method of their own configuration at matched compute: a column per target and
    one for the mean, a row per method. A column's head has the median of the remaining FLOPs at which its pairs are
    compared; a pair that is compared at others has them beside its mark.
    """
    typical = [*(_median_saving([row.savings[i] for row in rows]) for i in range(len(plan.targets))), None]
    heads = [*map(target_name, plan.targets), "mean"]
    with style.styled():
        figure = style.canvas(2.2 * PANEL, 0.3 * len(rows) + 1.15)
        columns: Any = figure.subplots(1, len(heads), sharex=True, sharey=True, squeeze=False)[0]
        for i, axes in enumerate(columns):
            axes.axvline(0, color=INK, lw=1)
            is_mean = axes is columns[-1]
            for height, row in enumerate(rows):
                difference, saving = (*row.at_targets, row.mean)[i], (*row.savings, None)[i]
                if difference is None:
                    continue
                colour, marker = method_colour(plan, row.method), method_marker(plan, row.method)
                size, width = (7, 2.6) if is_mean else (5.5, 1.5)
                interval_mark(axes, in_points(difference), height, colour, size, marker, width)
                if saving is not None and not are_alike((saving,), (typical[i],)):
                    _compute_mark(axes, 100 * difference.high, height, saving)
            axes.set_title(heads[i], fontsize=9.5, pad=15)
            _compute_head(axes, typical[i])
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0, labelcolor=INK)
            axes.spines["left"].set_visible(False)
        columns[0].set_yticks(range(len(rows)), [row.method.name for row in rows])
        columns[0].set_ylim(len(rows) - 0.4, -0.6)
        caption = (
            "accuracy minus that of the configuration's pooled method, percentage points\n"
            "columns: targets; grey: remaining FLOPs at matched compute, % of dense (beside a mark where others)"
        )
        figure.supxlabel(caption, fontsize=9, color=MUTED)
        alt = f"Accuracy minus the pooled method's at matched compute, with intervals, for {len(rows)} methods."
        return style.to_svg(figure, name, alt)


def legend(plan: Plan) -> list[Mapping[str, str]]:
    """Name, colour variable and marker of every sparse method, for the page's legend."""
    return [
        {
            "name": method.name,
            "colour": f"var({style.VARIABLES[method_colour(plan, method)]})",
            "marker": method_marker(plan, method),
        }
        for method in plan.sparse
    ]


def interval_mark(
    axes: Any, interval: Interval, height: float, colour: str, size: float, marker: str, width: float
) -> None:
    """A marker at the estimate on a line from end to end of the interval, along x at `height`."""
    axes.plot(
        [interval.low, interval.high], [height, height], color=colour, lw=width, solid_capstyle="round", alpha=0.75
    )
    axes.plot(interval.value, height, marker, color=colour, ms=size, mec=PAPER, mew=0.7)


def in_points(interval: Interval) -> Interval:
    """A difference of fractions in percentage points."""
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


def _median_saving(savings: Sequence[float | None]) -> float | None:
    """The median of a column's savings in FLOPs; None where there is none."""
    known = sorted(saving for saving in savings if saving is not None)
    return known[len(known) // 2] if known else None


def _compute_head(axes: Any, saving: float | None) -> None:
    if saving is not None:
        axes.annotate(f"at {remaining_compute(saving)}", (0, 1), xycoords="axes fraction", xytext=(0, 4),
                      textcoords="offset points", fontsize=8, color=MUTED)  # fmt: skip


def _compute_mark(axes: Any, x: float, y: float, saving: float) -> None:
    axes.annotate(f"at {remaining_compute(saving)}", (x, y), xytext=(3, 0), textcoords="offset points", ha="left",
                  va="center", fontsize=6.5, color=MUTED).set_in_layout(False)  # fmt: skip


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
    names = [style.label(name) for name in names]
    handles = [axes.plot([], [], "o", ms=5, mew=0, color=colour, alpha=alpha)[0] for colour, alpha in looks]
    columns = min(len(names), max(1, LEGEND_CHARACTERS // (max(map(len, names)) + 4)))
    # matplotlib leaves out labels that begin with an underscore: they are put in afterwards.
    drawn = axes.legend(handles, [""] * len(names), loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=columns,
                        frameon=False, fontsize=8.5, handletextpad=0.1, columnspacing=1.0, labelcolor=INK)  # fmt: skip
    for text, name in zip(drawn.get_texts(), names, strict=True):
        text.set_text(name)


def _accuracy_line(plan: Plan, axes: Any, method: Method, points: Sequence[Point]) -> None:
    colour, marker = method_colour(plan, method), method_marker(plan, method)
    is_baseline = method.name == plan.baseline
    for point in points:
        ends = [100 * point.accuracy.low, 100 * point.accuracy.high]
        axes.plot([100 * point.compute] * 2, ends, color=colour, lw=1, alpha=0.45)
    compute, accuracy = [100 * point.compute for point in points], [100 * point.accuracy.value for point in points]
    axes.plot(compute, accuracy, marker=marker, color=colour, ms=5.5, mec=PAPER, mew=0.7,
              lw=2.6 if is_baseline else 1.3, ls=(0, (2, 1.5)) if method.is_control else "-")  # fmt: skip
