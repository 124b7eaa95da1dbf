"""What commands write to standard output: JSON for programs, tables for people.

Cells are text, never rich's markup: names and answers may hold brackets.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 120
"""Columns of a table that goes to a file or a pipe instead of a terminal."""


def show_json(value: object) -> None:
    """Write a value as JSON."""
    sys.stdout.write(json_of(value))


def json_of(value: object) -> str:
    """A value as JSON, in ASCII, whatever the terminal takes."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def show_line(value: object) -> None:
    """Write a value as one line of JSON, at once."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")
    sys.stdout.flush()


def show_lines(facts: Mapping[str, object]) -> None:
    """Write facts as lines."""
    sys.stdout.writelines(f"{name}: {value}\n" for name, value in facts.items())


def show_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; numbers are aligned at the right, and columns without names have no head."""
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_header=any(columns))
    rows = [list(row) for row in rows]
    for number, column in enumerate(columns):
        are_numbers = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        table.add_column(Text(column), justify="right" if are_numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(f"{cell:g}" if isinstance(cell, float) else str(cell)) for cell in row))
    console().print(table)


def console() -> Console:
    """Standard output, as it is now."""
    return Console(width=None if sys.stdout.isatty() else WIDTH_OF_FILES, highlight=False)
