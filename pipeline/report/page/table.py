"""Tables of the page as data: one shape for all, which the template renders and the script sorts, narrows to a target
and copies as CSV.

A cell has its text and the number behind it, so that sorting and copying do not depend on rounding or wording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

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
