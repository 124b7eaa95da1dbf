"""Tables of the page as data: one shape for all, which the template renders and the script sorts, narrows to a target
and copies as CSV.

A cell has its text and the number behind it, so that sorting and copying do not depend on rounding or wording.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.report.text.wording import number, points
from pipeline.statistics.bootstrap import Interval

NONE = "\N{EM DASH}"
DECIMALS = 6
"""Significant digits of a number in a file."""


@dataclass(frozen=True)
class Cell:
    """`small` follows in small print; `tone` (`up`, `down`, `shown`) makes the text bold; `heat` shades it, 0 to 1;
    `ends` are those of the value's interval."""

    text: str
    value: float | None = None
    small: str = ""
    tone: str = ""
    heat: float | None = None
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Column:
    """`at` is the target that the column is about, as the script names it; None where it is about none."""

    title: str
    at: str | None = None
    is_text: bool = False


@dataclass(frozen=True)
class Row:
    """`heading` stands in front of the row and begins a family of rows."""

    name: str
    cells: Sequence[Cell]
    heading: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """`corner` is the head of the first column; `note` stands below, `caption` above and names the region."""

    caption: str
    corner: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    note: str = ""
    is_heat: bool = False

    @property
    def csv(self) -> str:
        """All rows by the numbers behind their cells; a column of intervals is followed by their ends."""
        columns: dict[str, list[object]] = {self.corner: [row.name for row in self.rows]}
        for i, column in enumerate(self.columns):
            cells = [row.cells[i] for row in self.rows]
            columns[column.title] = [cell.text if cell.value is None else cell.value for cell in cells]
            if any(cell.ends for cell in cells):
                for end, name in enumerate(("low", "high")):
                    columns[f"{column.title}, {name}"] = [cell.ends and cell.ends[end] for cell in cells]
        return pd.DataFrame(columns).to_csv(index=False, lineterminator="\n", float_format=f"%.{DECIMALS}g")


def plain(text: object, *, tone: str = "") -> Cell:
    """A word, or a whole number with its separators."""
    if isinstance(text, int):
        return Cell(f"{text:,}", float(text), tone=tone)
    return Cell(str(text) or NONE, tone=tone)


def figure(value: float | None, write: Callable[[float], str] = number, *, tone: str = "") -> Cell:
    """A number; a dash where there is none."""
    return Cell(NONE) if value is None else Cell(write(value), value, tone=tone)


def interval(of: Interval | None, write: Callable[[float], str] = number, *, tone: str = "", small: str = "") -> Cell:
    """An estimate with the ends of its interval; a dash where there is none."""
    if of is None:
        return Cell(NONE)
    ends = f"[{write(of.low)}, {write(of.high)}]".replace("+", "")
    return Cell(write(of.value), of.value, f"{ends} {small}".strip(), tone, ends=(of.low, of.high))


def percents(of: Interval | None, *, tone: str = "") -> Cell:
    """An accuracy in percent, without the sign: the column's head has it."""
    return interval(of, percentage, tone=tone)


def difference(of: Interval | None, *, good: int = 0, small: str = "") -> Cell:
    """A difference in points, marked where its interval excludes zero if `good` (1 or -1) is the welcome sign."""
    return interval(of, points, tone=sign_tone(of, good) if of and good else "", small=small)


def heat(text: str, strength: float, value: float | None = None) -> Cell:
    """A shaded cell."""
    return Cell(text, value, heat=round(min(max(strength, 0.0), 1.0), 3))


def percentage(fraction: float, decimals: int = 1) -> str:
    """0.934 -> "93.4"."""
    return number(100 * fraction, decimals)


def sign_tone(of: Interval, good: int, null: float = 0.0) -> str:
    """`up` or `down` where the interval excludes `null`, `up` being the welcome sign (`good`: 1 or -1); else empty."""
    sign = 1 if of.low > null else -1 if of.high < null else 0
    return "" if sign == 0 else "up" if sign == good else "down"
