"""How verdicts are decided, in words for the page; fixed before the numbers were known."""

from __future__ import annotations

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import FEWEST_TASKS
from pipeline.report.text.groups import MOSTLY, PARTLY, STABLE
from pipeline.report.text.targets import FEWEST_TARGETS
from pipeline.report.text.wording import listed, target_name

NEGLIGIBLE = 0.01
"""Regret (share of samples) whose interval must stay below this for a router to count as good enough."""
TOLERANCE = 0.02
"""An operating point is safe when the interval of its accuracy loss stays below this."""


def rules(plan: Plan) -> list[str]:
    """How the verdicts are decided, for the page."""
    level, alpha = target_name(plan.confidence), target_name(plan.alpha)
    return [
        f"Every interval is a {level} percentile bootstrap over samples ({plan.bootstrap:,} replicates, seed "
        f"{plan.seed}); the same draws are used for all methods, so differences are paired. Intervals are per "
        f"comparison: of many comparisons without any effect, about {alpha} exclude zero by chance.",
        "Two methods are compared at equal realised FLOPs, at one level per target: the smaller of the two savings "
        "there. Levels belong to the pair, so no third method moves them; every difference is shown with its level.",
        "A difference is claimed only for the mean over the levels of a pair, and only when its p-value, from the "
        f"replicates of its interval and corrected by Holm's method for all pairs of the same kind, is below {alpha}. "
        "When it is not, the report says what the interval rules out. Single levels are shown, not claimed.",
        "The second interval of a mean redraws tasks and then samples within them: it answers for other tasks like "
        f"these. There is none below {FEWEST_TASKS} tasks.",
        f"Groups follow a label only if the permutation p-value of their agreement ({plan.bootstrap:,} permutations), "
        f"corrected by Holm's method for the number of labels, is below {alpha}; mostly from NMI {MOSTLY}, partly from "
        f"{PARTLY}.",
        "Groups are reproducible when clusterings of two halves of the training samples agree with ARI of at least "
        f"{STABLE}.",
        "RQ2 is decided by the routed methods on the test split, each averaged over the levels of its pair: one must "
        "be above the pooled method of its own configuration (the same criterion, allocation and mask) and "
        "above every draw of "
        "random groups of the same sizes on it, because several profiles may gain whatever the groups mean. Of several "
        "configurations with routed groups, the one whose pooled method is most accurate decides: gains on a "
        "weaker one may be "
        "what a better pooled profile gives without groups; for that choice, and only for it, the pooled profiles with "
        "routed groups are read at levels common to them. Methods with true groups, random groups and given labels "
        "are controls, not answers.",
        *_primary(plan),
        f"The criterion for several targets (an uncorrected interval above zero at {FEWEST_TARGETS} or more, below at "
        "none, and no draw of random groups that does the same) is told beside the verdict and does not decide it.",
        "A yes is qualified where refit variance is not ruled out: where no routed method gains more than one "
        "more draw of "
        f"random groups is expected to gain at most ({level}, from the mean and standard deviation of the draws). With "
        "fewer than two draws it is not known.",
        "What corrections count: every grouped method against the pooled one of its configuration, "
        "configuration by configuration; every pair "
        "with random groups, configuration by configuration; every other method against the baseline; every "
        "task of one comparison.",
        f"A router is good enough when the interval of its regret stays below {100 * NEGLIGIBLE:g} point.",
        "A benefit router gains where the interval of the mean that its choices bring is above zero; one over "
        "random groups is a "
        "control.",
        "An operating point is safe when the interval of its accuracy loss against dense stays below "
        f"{100 * TOLERANCE:g} points.",
        "RQ4 is decided at the smallest batch and shortest context that were timed, by pooled and routed methods. A "
        "point is faster when the lower quartile of its speed-up over the strongest dense baseline is above 1; the "
        "answer is yes when one is faster and safe, and open where nothing was timed.",
    ]


def _primary(plan: Plan) -> list[str]:
    """What changes where some methods were evaluated on more samples than others."""
    part = plan.primary_part
    if part is None:
        return []
    methods = listed([f"`{method.name}`" for method in part.sparse])
    return [
        "Which configuration decides is chosen on the samples and targets that every method has. What it says "
        "about RQ2 is read "
        f"from the primary comparison ({methods} on all test samples, at "
        f"{listed([target_name(target) for target in part.targets])}, as the settings name them), if a routed method "
        "of that configuration is in it: gains, their correction, random groups, refit variance and the "
        "criterion for several "
        "targets. Otherwise, as all other accuracies, from the samples that every method has.",
    ]
