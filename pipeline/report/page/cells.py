"""Cells of tables from numbers and intervals: each with its text and the number behind it."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.report.page.table import Cell
from pipeline.report.text.wording import number, points
from pipeline.statistics.bootstrap import Interval

NONE = "\N{EM DASH}"


def plain(text: str | int) -> Cell:
    """A word, or a whole number with its separators."""
    return Cell(f"{text:,}", float(text)) if isinstance(text, int) else Cell(text or NONE)


def figure(value: float | None, write: Callable[[float], str] = number, *, tone: str = "") -> Cell:
    """A number; a dash where there is none."""
    return Cell(NONE) if value is None else Cell(write(value), value, tone=tone)


def interval(of: Interval | None, write: Callable[[float], str] = number, *, tone: str = "", small: str = "") -> Cell:
    """An estimate with the ends of its interval; a dash where there is none."""
    if of is None:
        return Cell(NONE)
    ends = f"[{write(of.low)}, {write(of.high)}]".replace("+", "")
    return Cell(write(of.value), of.value, f"{ends} {small}".strip(), tone, ends=(of.low, of.high))


def percents(of: Interval | None) -> Cell:
    """An accuracy in percent, without the sign: the column's head has it."""
    return interval(of, percentage)


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
