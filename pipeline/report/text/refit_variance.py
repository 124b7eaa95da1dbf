"""Sentences about refit variance (`pipeline/report/analysis/refit_variance.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.refit_variance import FEWEST_DRAWS, RefitVariance, needed
from pipeline.report.text.wording import method_names, target_name


def refit_variance_sentences(plan: Plan, rows: Sequence[RefitVariance]) -> list[str]:
    """The gains of methods of one configuration in units of the standard deviation between its random draws."""
    if not rows:
        return []
    count = len(rows[0].draws)
    if count < FEWEST_DRAWS:
        runs = "only one draw of random groups was" if count else "no random groups were"
        return [
            f"Refit variance is not known: {runs} run on this configuration, and intervals resample samples and tasks, "
            "not fits."
        ]
    beyond = [row.method for row in rows if row.scale.is_beyond(plan.confidence)]
    within = [row.method for row in rows if row.method not in beyond]
    parts = [f"ruled out for {method_names(beyond)}"] if beyond else []
    parts += [f"not ruled out for {method_names(within)}"] if within else []
    return [
        "Refit variance (differences between fits, which no interval here contains), estimated from the gains of "
        f"{count} draws of random groups, each fitted anew: {'; '.join(_measured(row) for row in rows)}.",
        f"With {count} draws, a gain must lie {needed(count, plan.confidence):.1f} standard deviations above their "
        f"mean to rule out, at {target_name(plan.confidence)}, that one more fit of random groups would gain as much: "
        f"{', '.join(parts)}.",
    ]


def qualifier(plan: Plan, rows: Sequence[RefitVariance]) -> str:
    """The qualification of a claimed gain; empty where refit variance is ruled out for one of the methods."""
    answers = [row.scale.is_beyond(plan.confidence) for row in rows]
    if any(answers):
        return ""
    return "refit variance not ruled out" if False in answers else "refit variance not known"


def _measured(row: RefitVariance) -> str:
    scale = row.scale
    if scale.deviation is None or scale.times is None or scale.excess is None:
        return f"all draws that `{row.method.name}` is compared with gain the same"
    kind, side = "gain" if scale.gain >= 0 else "loss", "above" if scale.excess >= 0 else "below"
    return (
        f"the {kind} of `{row.method.name}` is {abs(scale.times):.1f} times their standard deviation "
        f"({100 * scale.deviation:.2f} points) and lies {abs(scale.excess):.1f} standard deviations {side} their mean"
    )
