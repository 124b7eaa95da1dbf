"""What fits differ by chance, in sentences made from the numbers (`pipeline/report/analysis/refit_variance.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.refit_variance import FEWEST_DRAWS, RefitVariance, needed
from pipeline.report.text.wording import listed, target_name

UNKNOWN = "intervals redraw samples and tasks, not fits"


def refit_variance_sentences(plan: Plan, rows: Sequence[RefitVariance]) -> list[str]:
    """The gains of methods of one configuration beside the standard deviation between its random draws."""
    if not rows:
        return []
    count = len(rows[0].draws)
    if count < FEWEST_DRAWS:
        why = (
            "there is one draw of random groups on this configuration"
            if count
            else "no random groups were run on this configuration"
        )
        return [f"Refit variance is not known: {why}, and {UNKNOWN}."]
    beyond = [f"`{row.method.name}`" for row in rows if row.scale.is_beyond(plan.confidence)]
    within = [f"`{row.method.name}`" for row in rows if not row.scale.is_beyond(plan.confidence)]
    parts = [f"ruled out for {listed(beyond)}"] if beyond else []
    parts += [f"not ruled out for {listed(within)}"] if within else []
    return [
        f"Refit variance ({UNKNOWN}; {count} draws of random groups, each fitted anew, give its scale): "
        f"{'; '.join(_measured(row) for row in rows)}.",
        f"With {count} draws it takes {needed(count, plan.confidence):.1f} standard deviations above their mean to "
        f"rule out, at {target_name(plan.confidence)}, that one more fit of random groups would do as well: "
        f"{', '.join(parts)}.",
    ]


def qualifier(plan: Plan, rows: Sequence[RefitVariance]) -> str:
    """What a claimed gain must add about refit variance; empty where it is ruled out for one of the methods."""
    answers = [row.scale.is_beyond(plan.confidence) for row in rows]
    if any(answers):
        return ""
    return "refit variance not ruled out" if False in answers else "refit variance not known"


def _measured(row: RefitVariance) -> str:
    scale = row.scale
    if scale.deviation is None or scale.times is None or scale.excess is None:
        return f"the draws that `{row.method.name}` is held against all gain the same"
    kind, side = "gain" if scale.gain >= 0 else "loss", "above" if scale.excess >= 0 else "below"
    return (
        f"the {kind} of `{row.method.name}` is {abs(scale.times):.1f} times their standard deviation "
        f"({100 * scale.deviation:.2f} points) and lies {abs(scale.excess):.1f} of them {side} their mean"
    )
