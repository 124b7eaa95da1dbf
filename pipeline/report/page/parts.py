"""What sections of the page consist of: paragraphs, figures, tables and folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.report.page.svg import Figure
from pipeline.report.page.table import Table


@dataclass(frozen=True)
class Fold:
    """Parts that are shown when a reader asks for them, and in print."""

    summary: str
    parts: Sequence[Part]


Part = str | Figure | Table | Fold
"""A string is a paragraph; names in backticks become code."""


@dataclass(frozen=True)
class Section:
    """`id` is its address on the page, `short` its name in the navigation."""

    id: str
    short: str
    title: str
    parts: Sequence[Part]


def unfolded(parts: Sequence[Part]) -> Iterator[str | Figure | Table]:
    """All parts, folded or not."""
    for part in parts:
        if isinstance(part, Fold):
            yield from unfolded(part.parts)
        else:
            yield part
