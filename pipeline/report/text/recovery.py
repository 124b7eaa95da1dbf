"""How much of the loss of the baseline better pooled profiles recover, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.text.wording import listed, percent_interval, target_name


def recovery_sentences(plan: Plan, rows: Sequence[Recovery], samples: int) -> list[str]:
    """What the methods that win something back win, target by target."""
    return [
        f"Of the accuracy that `{row.reference.name}` loses against the dense model, `{row.method.name}` wins back, at "
        f"equal compute on {samples:,} test samples: {_by_target(plan, row)}."
        for row in rows
        if row.wins
    ]


def _by_target(plan: Plan, row: Recovery) -> str:
    shown = [
        f"{percent_interval(fraction)} at {target_name(target)}"
        for target, fraction in zip(plan.targets, row.fractions, strict=True)
        if fraction is not None
    ]
    return listed(shown)
