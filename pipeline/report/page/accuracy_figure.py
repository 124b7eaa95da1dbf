"""The first figure: accuracy against the compute that remains."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Point
from pipeline.report.analysis.findings import Accuracies
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.figures import WIDE, Looks, both, end_labels, frame, key, room
from pipeline.report.page.svg import Figure, Scale, element, line, marker, polyline, svg
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import percent, percent_interval, target_name


def accuracy(accuracies: Accuracies, featured: Sequence[Method], style: Looks) -> Figure:
    """Accuracy against the FLOPs that remain, with intervals: the featured methods labelled, all others hidden."""
    plan, points = accuracies.plan, accuracies.points
    dense = next(point for point in points if point.method.is_dense)
    ends = {method: [p for p in points if p.method == method][-1] for method in featured if not method.is_dense}
    ranked = sorted(ends, key=lambda method: -ends[method].accuracy.value)
    alt = f"Accuracy against compute. Dense: {percent(dense.accuracy.value)}. At the sparsest target: " + ", ".join(
        f"{display_name(plan, method)} {percent(ends[method].accuracy.value)}" for method in ranked
    )

    def draw(width: int) -> str:
        is_wide = width == WIDE
        height, left, right = (430, 52, room(plan, featured)) if is_wide else (400, 40, 12)
        bottom = height - 46
        shown = [point for point in points if point.method in featured]
        sparse = [point for point in points if not point.method.is_dense] or [dense]
        computes = [100 * point.compute for point in sparse]
        x = Scale(max(computes) + 1.5, min(computes) - 1, left, width - right)
        low = min(100 * point.accuracy.low for point in shown)
        high = max(100 * point.accuracy.high for point in shown)
        y = Scale(low - 1, high + 2, bottom, 24)
        parts = frame(x, y, width - right, bottom, "FLOPs that remain, % of dense", "accuracy, %")
        parts.append(_dense_line(dense, x, y, width - right))
        for method in plan.sparse:
            own = [point for point in points if point.method == method]
            parts += [_accuracy_line(plan, own, style, x, y, is_shown=method in featured)] if own else []
        if is_wide:
            at = {method: (x(100 * end.compute), y(100 * end.accuracy.value)) for method, end in ends.items()}
            at[plan.dense] = width - right, y(100 * dense.accuracy.value)
            parts += end_labels(plan, at, style, width - right)
        return svg(width, height, "".join(parts), alt)

    caption = (
        f"Accuracy on {accuracies.samples:,} held-out samples, every method on the same ones, against the FLOPs that "
        f"remain (right is cheaper); bars are {target_name(plan.confidence)} intervals."
    )
    return both("accuracy", alt, caption, draw)


def _dense_line(dense: Point, x: Scale, y: Scale, right: float) -> str:
    low, high = y(100 * dense.accuracy.low), y(100 * dense.accuracy.high)
    band = element("rect", x=x.start, y=high, width=right - x.start, height=low - high, fill="var(--ink)", opacity=0.07)
    at = y(100 * dense.accuracy.value)
    rule = line(x.start, at, right, at, stroke="var(--ink)", stroke_dasharray="6 5", stroke_width=1.5)
    return element(
        "g", band + rule, data_method=dense.method.name, data_tip=f"Dense: {percent_interval(dense.accuracy)}"
    )


def _accuracy_line(plan: Plan, own: Sequence[Point], style: Looks, x: Scale, y: Scale, *, is_shown: bool) -> str:
    method = own[0].method
    colour, shape = style[method.name]
    path = [(x(100 * point.compute), y(100 * point.accuracy.value)) for point in own]
    dash = "5 4" if method.is_control else None
    content = polyline(path, stroke=f"var(--{colour})", stroke_width=2.2, stroke_dasharray=dash)
    for point, at in zip(own, path, strict=True):
        bar = line(at[0], y(100 * point.accuracy.low), at[0], y(100 * point.accuracy.high), stroke=f"var(--{colour})",
                   stroke_width=1.6, opacity=0.5)  # fmt: skip
        tip = (
            f"{display_name(plan, method)} at {target_name(point.target)}: {percent_interval(point.accuracy)}, "
            f"{percent(point.compute)} of the FLOPs"
        )
        dot = marker(shape, *at, 5.5, fill=f"var(--{colour})", stroke="var(--paper)")
        content += element("g", bar + dot, data_at=key(point.target), data_tip=tip)
    return element("g", content, data_method=method.name, class_=None if is_shown else "hidden")
