"""The estimate as text: a short table, what it needs, and everything that was assumed."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

_WIDTH = 100


def page(
    seconds: Iterable[tuple[str, float]],
    stages: int,
    needs: Sequence[tuple[str, str]],
    notes: Sequence[str],
    device: str,
) -> str:
    """The whole text, with a row for each kind of stage: `evaluate@wina` is an `evaluate`.

    Args:
        seconds: name and estimate of every stage that would run, of so many `stages`.
        needs: what is needed and how much of it.
        notes: what was assumed, one sentence each.
        device: what was measured.
    """
    by_kind: dict[str, list[float]] = {}
    for name, cost in seconds:
        by_kind.setdefault(name.partition("@")[0], []).append(cost)
    if not by_kind:
        return f"Nothing to do: all {stages} stages are up to date."
    every = [cost for costs in by_kind.values() for cost in costs]
    kinds = [*by_kind.items(), ("together", every)]
    width = max(len(name) for name, _ in needs)
    return "\n".join(
        [
            f"At most {len(every)} of {stages} stages would run. An ESTIMATE, for this machine ({device}):",
            "",
            f"  {'stage':<12}{'runs':>6}{'time':>12}",
            *(f"  {kind:<12}{len(costs):>6}{duration(sum(costs)):>12}" for kind, costs in kinds),
            "",
            *(f"  {name:<{width}}  {amount}" for name, amount in needs),
            "",
            "Assumed:",
            *(textwrap.fill(note, _WIDTH, initial_indent="  - ", subsequent_indent="    ") for note in notes),
        ]
    )


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
