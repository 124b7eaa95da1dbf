"""The estimate as text: a short table, what it needs, and everything that was assumed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_WIDTH = 100


@dataclass(frozen=True)
class Row:
    """Stages of one kind: how many would run, and their seconds together."""

    stage: str
    runs: int
    seconds: float


def rows(seconds: Iterable[tuple[str, float]]) -> list[Row]:
    """One row for each kind of stage, from (name, seconds) of every stage: `evaluate@wina` is an `evaluate`."""
    by_kind: dict[str, Row] = {}
    for name, cost in seconds:
        kind = name.partition("@")[0]
        known = by_kind.get(kind, Row(kind, 0, 0.0))
        by_kind[kind] = Row(kind, known.runs + 1, known.seconds + cost)
    return list(by_kind.values())


def page(table: Sequence[Row], stages: int, needs: Sequence[tuple[str, str]], notes: Sequence[str], device: str) -> str:
    """The whole text.

    Args:
        table: from `rows`.
        stages: number of all stages.
        needs: what is needed and how much of it.
        notes: what was assumed, one sentence each.
        device: what was measured.
    """
    return "\n".join(_lines(table, stages, needs, notes, device))


def _lines(
    table: Sequence[Row], stages: int, needs: Sequence[tuple[str, str]], notes: Sequence[str], device: str
) -> Iterator[str]:
    runs = sum(row.runs for row in table)
    if not runs:
        yield f"Nothing to do: all {stages} stages are up to date."
        return
    yield f"At most {runs} of {stages} stages would run. An ESTIMATE, for this machine ({device}):"
    yield ""
    yield f"  {'stage':<12}{'runs':>6}{'time':>12}"
    for row in table:
        yield f"  {row.stage:<12}{row.runs:>6}{duration(row.seconds):>12}"
    yield f"  {'together':<12}{runs:>6}{duration(sum(row.seconds for row in table)):>12}"
    yield ""
    width = max(len(name) for name, _ in needs)
    for name, amount in needs:
        yield f"  {name:<{width}}  {amount}"
    yield ""
    yield "Assumed:"
    for note in notes:
        yield textwrap.fill(note, _WIDTH, initial_indent="  - ", subsequent_indent="    ")


def duration(seconds: float) -> str:
    """Two significant figures at most: `8 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36_000 else f"{seconds / 3600:.0f} h"


def amount(size: float) -> str:
    """`12 MB`, `3.4 GB`."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
