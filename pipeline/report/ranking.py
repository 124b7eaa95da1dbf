"""Which rung decides RQ2: the one whose pooled method is best, of those that have routed groups.

Groups that help a weak profile may only repair what a better pooled profile repairs without them. Pooled methods are
ranked by their difference from the baseline at equal compute; a method that reaches only some compute levels stands
behind those that reach more, because its mean is over easier levels. The ranking looks at pooled methods alone, so it
does not favour rungs whose groups gained by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.accuracy import Comparison
from pipeline.report.plan import Method, Plan
from pipeline.report.rungs import Rung, rungs


def ranked(plan: Plan, differences: Sequence[Comparison]) -> list[Method]:
    """The pooled methods, best first.

    Args:
        plan: the plan.
        differences: comparisons with the baseline; pooled methods that are not among them are left out.
    """
    rows = [row for row in differences if row.method.is_pooled]
    levels = max((len(row.at_levels) for row in differences), default=0)
    standing = {row.method: (sum(gap is not None for gap in row.at_levels), row.mean.value) for row in rows}
    standing[plan.method(plan.baseline)] = (levels, 0.0)
    return sorted(standing, key=lambda method: standing[method], reverse=True)


def decisive(plan: Plan, differences: Sequence[Comparison], gains: Sequence[Comparison]) -> Rung | None:
    """The rung that RQ2 is decided on; None where no routed method was compared with its own pooled method."""
    compared = {row.reference for row in gains if row.method.is_routed}
    best = next((method for method in ranked(plan, differences) if method in compared), None)
    return None if best is None else next(rung for rung in rungs(plan) if rung.pooled == best)
