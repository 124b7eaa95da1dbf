"""Sentences about the gap recovered: how much of the baseline's accuracy loss better pooled profiles avoid."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.text.wording import listed, percent_interval, target_name


def recovery_sentences(plan: Plan, rows: Sequence[Recovery], samples: int) -> list[str]:
    """The gap recovered, target by target, for every method that recovers a part of it at any target."""
    return [
        f"Gap recovered by `{row.method.name}` (the fraction of the accuracy that `{row.reference.name}` loses against "
        f"the dense model), at matched compute on {samples:,} test samples: {_by_target(plan, row)}."
        for row in rows
        if row.wins
    ]


def _by_target(plan: Plan, row: Recovery) -> str:
    fractions = zip(plan.targets, row.fractions, strict=True)
    return listed([f"{percent_interval(part)} at {target_name(at)}" for at, part in fractions if part is not None])
