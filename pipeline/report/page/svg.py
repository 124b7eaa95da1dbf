"""SVG by hand: elements, scales and the palette of every figure of the report.

Written here rather than by a plotting library, because one drawing serves all readers: the page's script finds its
parts by their `data-` attributes, its colours are CSS variables that follow a dark theme, and without a script, in
print and as a file of its own it is the complete static figure. A library would draw it twice, once static and once by
a megabyte of script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

LIGHT = {
    "paper": "#ffffff", "raised": "#f5f6f8", "ink": "#16181d", "body": "#33373e", "muted": "#5f646d", "grid": "#dcdfe4",
    "yes": "#0b6e4f", "no": "#b3261e", "open": "#6b5200", "accent": "#0a5fb4",
    "s1": "#0a5fb4", "s2": "#b8420a", "s3": "#0b7550", "s4": "#7a3fb0", "s5": "#806000", "s6": "#b32d68",
    "s7": "#0c6b80", "s8": "#5f646d",
}  # fmt: skip
DARK = {
    "paper": "#14161a", "raised": "#1d2026", "ink": "#f2f3f5", "body": "#cfd2d8", "muted": "#a0a5af", "grid": "#363b44",
    "yes": "#4fd0a0", "no": "#ff9185", "open": "#e0b84c", "accent": "#7db8f7",
    "s1": "#6db3f8", "s2": "#ff9b6a", "s3": "#4fd0a0", "s4": "#c39bf0", "s5": "#e0b84c", "s6": "#f58fbb",
    "s7": "#5cc9de", "s8": "#a0a5af",
}  # fmt: skip
"""Contrast with `paper` is at least 4.5; neighbours of the series stay apart for colour-blind readers, and markers
repeat what colour says."""
SERIES = tuple(name for name in LIGHT if name[0] == "s" and name[1:].isdigit())


@dataclass(frozen=True)
class Figure:
    """A finished figure: `wide` for a page and print, `narrow` for a phone; `alt` says its finding in words, `caption`
    how to read it."""

    name: str
    alt: str
    caption: str
    wide: str
    narrow: str = ""

    @property
    def file(self) -> str:
        """A file of its own, in the light colours."""
        style = f":root{{background:{LIGHT['paper']};{variables(LIGHT)}}}text{{font-family:system-ui,sans-serif}}"
        style += ".hidden,[data-only]:not([data-only=mean]){display:none}"
        opening = self.wide.index(">") + 1
        return f"{self.wide[:opening]}<style>{style}</style>{self.wide[opening:]}"


@dataclass(frozen=True)
class Scale:
    """A line from data (`first` to `last`) to pixels."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.first) / ((self.last - self.first) or 1.0) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """About `count` round numbers within the data."""
        low, high = sorted((self.first, self.last))
        rough = ((high - low) or 1.0) / count
        power = 10 ** math.floor(math.log10(rough))
        step = next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def element(tag: str, content: str = "", **attributes: object) -> str:
    """One element; `data_at` becomes `data-at`, numbers are rounded, None is left out, `content` is markup."""
    shown = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{shown}>{content}</{tag}>" if content else f"<{tag}{shown}/>"


def text(x: float, y: float, words: str, **attributes: Any) -> str:
    """A line of text as it is, whoever chose it."""
    look: dict[str, Any] = {"fill": "var(--muted)", "font_size": 12, **attributes}
    return element("text", str(escape(label(words))), x=x, y=y, **look)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> str:
    return element(
        "path", d=f"M{_short(x1)} {_short(y1)}L{_short(x2)} {_short(y2)}", **{"stroke": "var(--grid)", **attributes}
    )


def tick(value: float) -> str:
    """A number at an axis."""
    return f"{value:g}".replace("-", "\N{MINUS SIGN}")


def polyline(points: Sequence[tuple[float, float]], **attributes: Any) -> str:
    path = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
    return element("path", d=f"M{path}", fill="none", **attributes)


def marker(shape: int, x: float, y: float, size: float = 5, **attributes: Any) -> str:
    """One of six shapes, so that colour never says anything alone."""
    r, a = size, size * 0.35
    paths = (
        f"M{-r} 0a{r} {r} 0 1 0 {2 * r} 0a{r} {r} 0 1 0 {-2 * r} 0",
        f"M0 {-r * 1.15}L{r * 1.1} {r * 0.8}H{-r * 1.1}z",
        f"M{-r * 0.9} {-r * 0.9}h{r * 1.8}v{r * 1.8}h{-r * 1.8}z",
        f"M0 {-r * 1.25}L{r * 1.15} 0L0 {r * 1.25}L{-r * 1.15} 0z",
        f"M0 {r * 1.15}L{r * 1.1} {-r * 0.8}H{-r * 1.1}z",
        f"M{-a} {-r}H{a}V{-a}H{r}V{a}H{a}V{r}H{-a}V{a}H{-r}V{-a}H{-a}z",
    )
    return element(
        "path", d=_rounded(paths[shape % len(paths)]), transform=f"translate({_short(x)} {_short(y)})", **attributes
    )


def sign(colour: str, shape: int) -> str:
    """The marker of a method in a button or a table, which name it in words."""
    mark = marker(shape, 8, 8, fill=f"var(--{colour})")
    return element("svg", mark, viewBox="0 0 16 16", aria_hidden="true")


def svg(width: float, height: float, content: str, alt: str) -> str:
    """The picture as one image with its finding in words."""
    return element("svg", content, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_short(width)} {_short(height)}",
                   role="img", aria_label=label(alt, 1000))  # fmt: skip


def label(words: str, most: int = 60) -> str:
    """A name that somebody else has chosen as it can be drawn: one line, no control characters, not endless."""
    kept = "".join(character for character in " ".join(words.split()) if character.isprintable())
    return kept if len(kept) <= most else f"{kept[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """`heights`, ascending, moved apart until neighbours are `gap` apart, as little as possible in all."""
    clusters: list[list[float]] = []  # [mean of the wanted first heights, members]
    for number, height in enumerate(heights):
        clusters.append([height - number * gap, 1.0])
        while len(clusters) > 1 and clusters[-2][0] > clusters[-1][0]:
            (first, few), (second, more) = clusters[-2:]
            clusters[-2:] = [[(first * few + second * more) / (few + more), few + more]]
    starts = [start for start, members in clusters for _ in range(int(members))]
    return [start + number * gap for number, start in enumerate(starts)]


def shown(figure: Figure) -> Markup:
    """Both drawings for the page, of which CSS shows one."""
    narrow = f'<div class="narrow">{figure.narrow}</div>' if figure.narrow else ""
    kind = "wide" if figure.narrow else "both"
    return Markup(f'<div class="{kind}">{figure.wide}</div>{narrow}')


def variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def _short(value: object) -> Any:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def _rounded(path: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number.group()):.1f}".removesuffix(".0"), path)
