"""The look of the figures, and the step from a matplotlib figure to SVG that lives in a web page.

Figures are drawn in a small set of named colours. Saved as files they keep the light colours on white. Inlined into the
page every named colour becomes a CSS variable, so the same figure follows the reader's light or dark theme, and text
stays text (searchable, in the page's font). The palette is ordered so that neighbours stay apart for colour-blind
readers; markers and direct labels repeat what colour says.

Bytes are deterministic: no dates, and ids derive from the figure's name.
"""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

INK, MUTED, GRID, PAPER = "#16181d", "#6b6f76", "#dfe1e5", "#ffffff"
SEQUENTIAL, GAIN, LOSS = "#2a6fdb", "#0f7b6c", "#c8442f"
SERIES = ("#2a78d6", "#eb6834", "#1b9e77", "#c98a00", "#d6568f", "#4a3aa7", "#008300", "#e34948")
"""Categorical colours, given in this order and never recycled past the end: further categories are drawn muted."""
MARKERS = ("o", "^", "s", "D", "v", "P")
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    SEQUENTIAL: "--seq",
    GAIN: "--gain",
    LOSS: "--loss",
    **{colour: f"--s{i + 1}" for i, colour in enumerate(SERIES)},
}

SCALE = 4 / 3
"""CSS pixels per point: 9 pt of a figure are 12 px in the page, at full width."""

_SETTINGS: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
    # A `$` in the name of a task is a dollar sign.
    "text.parse_math": False,
    "path.simplify": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Figure:
    """A finished figure: `svg` is a file of its own, `inline` goes into the page, `alt` says in words what it shows."""

    name: str
    svg: str
    inline: str
    alt: str


def label(text: str, most: int = 40) -> str:
    """A name that somebody else has chosen as it can be drawn: one line, no control characters, not endless."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return line if len(line) <= most else f"{line[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def series(index: int) -> str:
    """The colour of the `index`-th category; muted when there are more categories than colours."""
    return SERIES[index] if index < len(SERIES) else MUTED


def canvas(width: float, height: float) -> Canvas:
    """An empty figure of `width` x `height` inches in the house style (96 px to the inch in the page, at most)."""
    with mpl.rc_context(_SETTINGS):
        return Canvas(figsize=(width, height), layout="constrained")


def styled() -> Any:
    """A context in which axes and artists take the house style."""
    return mpl.rc_context(_SETTINGS)


def to_svg(drawn: Canvas, name: str, alt: str) -> Figure:
    """The finished figure as SVG, as a file of its own and for the page; `alt` says in words what it shows."""
    buffer, alt = io.BytesIO(), label(alt, most=1000)
    with mpl.rc_context({**_SETTINGS, "svg.hashsalt": name}), warnings.catch_warnings():
        # Letters that matplotlib's font lacks are drawn by the reader's.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        drawn.savefig(buffer, format="svg", facecolor="none", metadata=metadata)
    svg = _tidy(buffer.getvalue().decode())
    return Figure(name, _on_paper(svg), _inline(svg, name, alt), alt)


def _tidy(svg: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\d+\.\d{3,}", lambda match: f"{float(match.group()):.2f}".rstrip("0").rstrip("."), svg)
    svg = re.sub(r"M (\S+) (\S+) ?\s*L \1 \2\b", r"M\1 \2h0", svg)
    return re.sub(r"\n\s*", "\n", svg)


def _on_paper(svg: str) -> str:
    opening = svg.index(">") + 1
    return f'{svg[:opening]}\n<rect width="100%" height="100%" fill="{PAPER}"/>{svg[opening:]}'


def _inline(svg: str, name: str, alt: str) -> str:
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = re.sub(r'(id="|#)(?=[\w.-]+["\)])', rf"\g<1>{name}-", svg)
    width = re.search(r'viewBox="0 0 ([\d.]+)', svg)
    pixels = float(width.group(1)) if width else 0.0
    style = f"max-width:{pixels * SCALE:.0f}px"
    opening = f'<svg role="img" aria-label="{_attribute(alt)}" style="{style}"'
    return re.sub(
        r'<svg xmlns:xlink="[^"]*" width="[^"]*" height="[^"]*"',
        lambda _: f'{opening} xmlns:xlink="http://www.w3.org/1999/xlink"',
        svg,
        count=1,
    )


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
