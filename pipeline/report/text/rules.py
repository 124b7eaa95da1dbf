"""The rules by which answers are decided, in sentences for the page."""

from __future__ import annotations

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import FEWEST_TASKS
from pipeline.report.text.cards import MOSTLY, NEGLIGIBLE, PARTLY, STABLE
from pipeline.report.text.decision import RELEVANT
from pipeline.report.text.wording import method_names, target_name, target_names


def rules(plan: Plan) -> list[str]:
    """Every rule as a sentence or two."""
    confidence, alpha = target_name(plan.confidence), target_name(plan.alpha)
    return [
        f"Every interval is a {confidence} percentile bootstrap over samples ({plan.bootstrap:,} replicates, seed "
        f"{plan.seed}) with the same draws for all methods, so differences are paired; the second one of a mean "
        f"resamples tasks, then their samples (from {FEWEST_TASKS} tasks on). Neither resamples fits.",
        "Two methods are compared at matched compute: at every target, both are read at the smaller of their two "
        "savings of realised FLOPs, router and scoring counted. No third method influences a pair.",
        "A gain is claimed where both intervals of its mean over targets exclude zero, its p-value, corrected for all "
        f"pairs of its kind (Holm), is below {alpha}, and it is also above every draw of random groups of the same "
        "sizes that was run; where none was, the answer says so. Otherwise it is no if the intervals rule out a gain "
        f"of {100 * RELEVANT:g} points, and undecided if not.",
        "Of several configurations (criterion, allocation, mask) with routed groups, the one with the most accurate "
        "pooled method decides, because groups that help a weak profile may repair what a better pooled one repairs "
        "without them; of its routed methods, the first in params.yaml.",
        *_primary(plan),
        f"Groups follow a label if the permutation p-value of their agreement, corrected for the number of labels, is "
        f"below {alpha}: mostly from NMI {MOSTLY}, partly from {PARTLY}. They are reproducible when clusterings of two "
        f"halves of the training samples have an ARI of at least {STABLE}.",
        "Routing is good enough when groups gain (RQ2) and the interval of its regret stays below "
        f"{100 * NEGLIGIBLE:g} point; where known groups were not run, fewer prompts than that must go elsewhere.",
        f"An operating point is safe when the interval of its loss against dense stays below {100 * RELEVANT:g} "
        "points. A point is faster when the lower quartile of its speed-up over the strongest dense baseline is above "
        "1, at the smallest batch and shortest context.",
    ]


def _primary(plan: Plan) -> list[str]:
    part = plan.primary_part
    if part is None:
        return []
    return [
        f"The primary comparison ({method_names(part.sparse)} on all test samples at {target_names(part.targets)}, "
        "named in the settings) answers if it has a routed method of the deciding configuration; all cards then read "
        "it. The figures and other tables are of the samples that every method was evaluated on."
    ]
