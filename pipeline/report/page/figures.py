"""What figures share (widths, looks of methods, axes), and the figures of intervals: differences, agreement.

Functions draw finished numbers in two widths; nothing is computed here. `data-method`, `data-at` and `data-only` tell
the page's script what to show: `data-at` marks what belongs to one target, `data-only` what is shown for that target
alone (for all targets it is the mean).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.svg import SERIES, Figure, Scale, element, line, marker, spread, svg, text, tick
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import number, points, points_interval
from pipeline.statistics.bootstrap import Interval
from wina_amp.names import UNIFORM

WIDE, NARROW = 960, 360
LINE = 15
"""Distance of two labels, in pixels."""
FEATURED = 6
"""Lines of the first figure that are drawn and labelled, the dense model included."""
BESIDE = 48
"""Characters of a name that fit beside a row; longer ones stand above it."""
MEAN = "mean"
"""In place of a target."""

Looks = Mapping[str, tuple[str, int]]
"""Name of a method -> its colour and the number of its marker."""


@dataclass(frozen=True)
class Mark:
    """A row of a forest plot: intervals in points by target, `MEAN` first; coloured where it `is_claimed`."""

    name: str
    intervals: Mapping[str, Interval | None]
    is_claimed: bool


def looks(plan: Plan, featured: Sequence[Method]) -> Looks:
    """Colours go to the featured methods first; past the last colour methods are muted and differ by marker."""
    order = [*(method for method in featured if not method.is_dense), *plan.sparse]
    names = list(dict.fromkeys(method.name for method in order))
    colours = {name: (SERIES[min(i, len(SERIES) - 1)], i) for i, name in enumerate(names)}
    return {**colours, plan.dense.name: ("ink", 0)}


def featured(plan: Plan, findings: Findings) -> list[Method]:
    """The lines of the first figure: dense, what is compared for RQ2, the best pooled method, the baseline, and the
    uniform profiles of WINA and TEAL, as many as fit."""
    gain, pooled = findings.deciding_gain, findings.best_pooled
    wanted = [plan.dense, *([gain.method, gain.reference] if gain else []), *([pooled.method] if pooled else [])]
    wanted.append(plan.method(plan.baseline))
    uniform = [method for method in plan.sparse if method.is_pooled and method.allocation == UNIFORM]
    wanted += sorted(uniform, key=lambda method: method.criterion != "wina")
    return list(dict.fromkeys(wanted))[:FEATURED]


def key(target: float) -> str:
    """A target as the page's script names it: 0.125 -> "12.5"."""
    return f"{100 * target:g}"


def forest(marks: Sequence[Mark], name: str, title: str, caption: str) -> Figure:
    """Differences with intervals, a row each; zero is a line. The script moves every mark to the chosen target."""
    known = [interval for mark in marks for interval in mark.intervals.values() if interval]
    first = marks[0].intervals.get(MEAN)
    alt = f"{title}: {marks[0].name} {points_interval(first)} points" if first else title
    alt += f"; {sum(mark.is_claimed for mark in marks)} of {len(marks)} differences are claimed."

    def draw(width: int) -> str:
        is_wide = width == WIDE and max(len(mark.name) for mark in marks) <= BESIDE
        step, left = (26, 340) if is_wide else (40, 12)
        bottom = step * len(marks) + 14
        span = [100 * end for interval in known for end in (interval.low, interval.high)]
        x = Scale(min([*span, 0.0]), max([*span, 0.0]), left + 14, width - 84)
        parts = [
            line(x(at), 6, x(at), bottom) + text(x(at), bottom + 17, tick(at), text_anchor="middle")
            for at in x.ticks(6 if is_wide else 4)
        ]
        parts.append(line(x(0), 2, x(0), bottom, stroke="var(--ink)"))
        for row, mark in enumerate(marks):
            y = row * step + (18 if is_wide else 28)
            across, down, anchor = (left - 4, y + 4, "end") if is_wide else (left, y - 11, "start")
            parts.append(text(across, down, mark.name, text_anchor=anchor, fill="var(--ink)", font_size=13))
            for at, interval in mark.intervals.items():
                if interval is not None:
                    parts.append(_forest_mark(mark, at, interval, x, y, width))
        return svg(width, bottom + 24, "".join(parts), alt)

    return both(name, alt, caption, draw)


def agreement(rows: Sequence[LabelAgreement], name: str) -> Figure:
    """NMI of the groups with every label, with interval, and of random groups as an open circle."""
    alt = "Agreement of the groups with labels (NMI): " + ", ".join(
        f"{row.label.title} {number(row.agreement.nmi.value)}" for row in rows
    )

    def draw(width: int) -> str:
        step, left = 28, 190 if width == WIDE else 168
        bottom = step * len(rows) + 8
        x = Scale(0, 1, left, width - 70)
        parts = [
            line(x(at), 4, x(at), bottom) + text(x(at), bottom + 16, tick(at), text_anchor="middle")
            for at in (0, 0.25, 0.5, 0.75, 1)
        ]
        for row_number, row in enumerate(rows):
            y, nmi = row_number * step + 16, row.agreement.nmi
            mark = line(x(nmi.low), y, x(nmi.high), y, stroke="var(--accent)", stroke_width=3)
            mark += marker(0, x(nmi.value), y, 5.5, fill="var(--accent)")
            if row.chance is not None:
                mark += marker(0, x(row.chance.nmi.value), y, 5, fill="none", stroke="var(--muted)", stroke_width=1.5)
            mark += text(x(nmi.high) + 10, y + 4, number(nmi.value), fill="var(--ink)")
            tip = f"{row.label.title}: NMI {number(nmi.value)} [{number(nmi.low)}, {number(nmi.high)}]"
            parts.append(text(left - 10, y + 4, row.label.title, text_anchor="end", fill="var(--ink)", font_size=13))
            parts.append(element("g", mark, data_tip=tip))
        return svg(width, bottom + 24, "".join(parts), alt)

    caption = "Normalised mutual information (NMI) of the groups with labels; open circles: of random groups."
    return both(name, alt, caption, draw)


def both(name: str, alt: str, caption: str, draw: Callable[[int], str]) -> Figure:
    """A figure drawn for a page and for a phone."""
    return Figure(name, alt, caption, draw(WIDE), draw(NARROW))


def frame(x: Scale, y: Scale, right: float, bottom: float, across: str, up: str) -> list[str]:
    """Grid, ticks and the names of both axes."""
    horizontal = [
        line(x.start, y(at), right, y(at)) + text(x.start - 8, y(at) + 4, tick(at), text_anchor="end")
        for at in y.ticks(6)
    ]
    vertical = [text(x(at), bottom + 18, tick(at), text_anchor="middle") for at in x.ticks(6)]
    return [*horizontal, *vertical, text(x.start, bottom + 38, across), text(4, 11, up)]


def room(plan: Plan, methods: Iterable[Method]) -> int:
    """The width that `end_labels` need."""
    return min(26 + 7 * max(len(display_name(plan, method)) for method in methods), 360)


def end_labels(plan: Plan, ends: Mapping[Method, tuple[float, float]], style: Looks, right: float) -> Iterator[str]:
    """The names of methods right of `right`, each tied to the point where its line ends."""
    ranked = sorted(ends.items(), key=lambda item: item[1][1])
    for (method, (x, y)), at in zip(ranked, spread([y for _, (_, y) in ranked], LINE + 2), strict=True):
        colour = f"var(--{style[method.name][0]})"
        tie = line(x + 7, y, right + 12, at, stroke=colour, opacity=0.5)
        name = text(right + 16, at + 4, display_name(plan, method), fill=colour, font_weight=600)
        yield element("g", tie + name, data_method=method.name)


def _forest_mark(mark: Mark, at: str, interval: Interval, x: Scale, y: float, width: int) -> str:
    colour = "var(--muted)" if not mark.is_claimed else "var(--yes)" if interval.value > 0 else "var(--no)"
    content = line(
        x(100 * interval.low), y, x(100 * interval.high), y, stroke=colour, stroke_width=2.4, stroke_linecap="round"
    )
    content += marker(0, x(100 * interval.value), y, 5, fill=colour)
    content += text(width - 4, y + 4, points(interval.value), text_anchor="end", fill="var(--ink)", font_size=13)
    where = "mean" if at == MEAN else f"at {at}%"
    return element("g", content, data_only=at, data_tip=f"{mark.name}, {where}: {points_interval(interval)} points")
