"""Realised sparsity block by block: one panel a target, a line a method."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.block_sparsity import BlockSparsity
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.figures import LINE, WIDE, Looks, both, key
from pipeline.report.page.svg import Figure, Scale, element, line, marker, polyline, svg, text, tick
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import percent, target_name

LEFT, HEIGHT = 34, 190
"""Of a panel."""
LEAST = 20
"""Points that a panel spans at least, so that rounding does not look like a pattern."""


def sparsity(plan: Plan, rows: Sequence[BlockSparsity], featured: Sequence[Method], style: Looks) -> Figure:
    """Small multiples; lines of methods that are not featured are hidden until they are switched on."""
    targets = sorted({row.target for row in rows})
    shown = [row for row in rows if row.method in featured]
    widest = max(shown, key=lambda row: float(np.ptp(row.values)))
    alt = f"Realised sparsity by block. {display_name(plan, widest.method)} varies most, at " + _ends(widest)
    values = [100 * float(value) for row in rows for value in row.values]
    middle, half = (max(values) + min(values)) / 2, max((max(values) - min(values)) / 2, LEAST / 2) + 2
    y = Scale(max(middle - half, 0), min(middle + half, 100), HEIGHT - 30, 28)

    def draw(width: int) -> str:
        columns = min(len(targets), 3) if width == WIDE else 1
        panel = (width - 10) // columns
        legend = [method for method in featured if not method.is_dense]
        top = LINE * (len(legend) if columns == 1 else -(-len(legend) // columns)) + 12
        parts = [
            element("g", marker(style[m.name][1], 8, -4, 4.5, fill=f"var(--{style[m.name][0]})")
                    + text(18, 0, display_name(plan, m), fill="var(--ink)"),
                    transform=f"translate({i % columns * panel} {LINE * (i // columns + 1)})")
            for i, m in enumerate(legend)
        ]  # fmt: skip
        for i, target in enumerate(targets):
            own = [row for row in rows if row.target == target]
            content = _panel(plan, own, featured, style, y, panel)
            place = f"translate({i % columns * panel} {top + i // columns * HEIGHT})"
            parts.append(element("g", content, transform=place, data_at=key(target)))
        return svg(width, top + HEIGHT * -(-len(targets) // columns), "".join(parts), alt)

    caption = "Percent of each block's weights that were masked, mean over samples; first block left."
    return both("sparsity", alt, caption, draw)


def _panel(
    plan: Plan, rows: Sequence[BlockSparsity], featured: Sequence[Method], style: Looks, y: Scale, width: int
) -> str:
    target = rows[0].target
    blocks = len(rows[0].values)
    x = Scale(0, max(blocks - 1, 1), LEFT + 6, width - 20)
    parts = [line(LEFT, y(at), width - 12, y(at)) for at in y.ticks(5)]
    parts += [text(LEFT - 6, y(at) + 4, tick(at), text_anchor="end") for at in y.ticks(5)]
    parts += [text(x(at), HEIGHT - 12, tick(at), text_anchor="middle") for at in x.ticks(6) if at == int(at)]
    parts.append(line(LEFT, y(100 * target), width - 12, y(100 * target), stroke="var(--ink)", stroke_dasharray="2 4"))
    parts.append(text(LEFT, 16, f"target {target_name(target)}", fill="var(--ink)", font_weight=600))
    parts.append(text(width - 12, 16, "masked by block, %", text_anchor="end"))
    for row in rows:
        colour, shape = style[row.method.name]
        path = [(x(block), y(100 * float(value))) for block, value in enumerate(row.values)]
        content = polyline(path, stroke=f"var(--{colour})", stroke_width=1.8)
        if blocks <= 12:
            content += "".join(marker(shape, *at, 3.6, fill=f"var(--{colour})") for at in path)
        tip = f"{display_name(plan, row.method)} at {_ends(row)} by block"
        kind = None if row.method in featured else "hidden"
        parts.append(element("g", content, data_method=row.method.name, data_tip=tip, class_=kind))
    return "".join(parts)


def _ends(row: BlockSparsity) -> str:
    low, high = (percent(float(value), 0) for value in (row.values.min(), row.values.max()))
    return f"{target_name(row.target)}: {low}" if low == high else f"{target_name(row.target)}: {low} to {high}"
