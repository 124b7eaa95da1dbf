"""Accuracy against measured latency (RQ4)."""

from __future__ import annotations

from pipeline.report.analysis.latency import Cell
from pipeline.report.analysis.plan import Plan
from pipeline.report.page.figures import WIDE, Looks, both, end_labels, frame, key, room
from pipeline.report.page.svg import Figure, Scale, element, line, marker, polyline, svg, text
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import number, percent_interval, target_name


def latency(plan: Plan, cell: Cell, style: Looks, name: str) -> Figure:
    """Accuracy against milliseconds a token: a line a method through its targets, dense as a diamond, the frontier as a
    grey band. Methods that cannot be deployed are dashed.

    Raises:
        ValueError: there is no accuracy to draw.
    """
    dense = cell.dense
    if dense is None:
        raise ValueError("a figure of accuracies needs some")
    title = f"Batch {cell.batch}, context {cell.context:,}"
    timed = [(timing, timing.point) for timing in cell.timings if timing.point is not None]
    fastest, _ = min(timed, key=lambda item: item[0].ms.value)
    alt = f"{title}: fastest is {display_name(plan, fastest.method)}, {number(fastest.speedup.value)} times dense."

    def draw(width: int) -> str:
        height, left, right = (380, 52, room(plan, {t.method for t, _ in timed})) if width == WIDE else (340, 42, 10)
        bottom = height - 46
        times = [end for timing, _ in timed for end in (timing.ms.low, timing.ms.high)]
        x = Scale(
            min([*times, cell.dense_ms.value]) * 0.97, max([*times, cell.dense_ms.value]) * 1.03, left, width - right
        )
        ends = [100 * end for _, point in timed for end in (point.accuracy.low, point.accuracy.high)]
        y = Scale(min(ends) - 1, max([*ends, 100 * dense.accuracy.value]) + 2, bottom, 24)
        parts = frame(x, y, width - right, bottom, "milliseconds a token", "accuracy, %")
        steps = [(x(ms), y(100 * worth)) for ms, worth in cell.frontier]
        parts.append(polyline(steps, stroke="var(--muted)", stroke_width=9, opacity=0.25, stroke_linejoin="round"))
        for method in dict.fromkeys(timing.method for timing, _ in timed):
            own = [(timing, point) for timing, point in timed if timing.method == method]
            colour, shape = style[method.name]
            dash = None if own[0][0].is_deployable else "4 4"
            path = [(x(timing.ms.value), y(100 * point.accuracy.value)) for timing, point in own]
            content = polyline(path, stroke=f"var(--{colour})", stroke_width=2, stroke_dasharray=dash)
            for (timing, point), at in zip(own, path, strict=True):
                bars = line(x(timing.ms.low), at[1], x(timing.ms.high), at[1], stroke=f"var(--{colour})", opacity=0.5)
                tip = (
                    f"{display_name(plan, method)} at {target_name(timing.target)}: {timing.ms.value:.3g} ms, "
                    f"{percent_interval(point.accuracy)}"
                )
                dot = marker(shape, *at, 5, fill=f"var(--{colour})", stroke="var(--paper)")
                content += element("g", bars + dot, data_at=key(timing.target), data_tip=tip)
            parts.append(element("g", content, data_method=method.name))
        at = x(cell.dense_ms.value), y(100 * dense.accuracy.value)
        parts.append(marker(3, *at, 6.5, fill="var(--ink)") + text(at[0] - 8, at[1] - 9, "dense", text_anchor="end"))
        if width == WIDE:
            ends = {
                t.method: (x(t.ms.value), y(100 * point.accuracy.value)) for t, point in timed[::-1] if t.is_deployable
            }
            parts += end_labels(plan, ends, style, width - right)
        return svg(width, height, "".join(parts), alt)

    caption = (
        f"{title}: accuracy against milliseconds a token (left is faster). Grey band: the frontier of what can be "
        "deployed; dashed: needs groups that a new prompt does not come with."
    )
    return both(name, alt, caption, draw)
