"""The rules by which verdicts are decided, in sentences for the page; fixed before the numbers were known."""

from __future__ import annotations

from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import FEWEST_TASKS
from pipeline.report.text.groups import MOSTLY, PARTLY, STABLE
from pipeline.report.text.targets import FEWEST_TARGETS
from pipeline.report.text.wording import method_names, target_name, target_names

NEGLIGIBLE = 0.01
"""Regret (fraction of samples) whose interval must stay below this for a router to count as good enough."""
TOLERANCE = 0.02
"""An operating point is safe when the interval of its accuracy loss stays below this."""


def rules(plan: Plan) -> list[str]:
    """Every rule as a sentence or two."""
    confidence, alpha = target_name(plan.confidence), target_name(plan.alpha)
    return [
        f"Every interval is a {confidence} percentile bootstrap over samples ({plan.bootstrap:,} replicates, seed "
        f"{plan.seed}) with the same draws for all methods, so differences are paired. Intervals are not corrected: of "
        f"many comparisons without any effect, about {alpha} exclude zero by chance.",
        "Two methods are compared at matched compute: at every target, both are read at the smaller of their two "
        "savings of realised FLOPs. No third method influences a pair, and every difference is shown with the FLOPs "
        "that remain.",
        "A difference is claimed only for the mean over targets, and only when its p-value, from the replicates of its "
        f"interval and corrected by Holm's method for all pairs of the same kind, is below {alpha}. Otherwise the "
        "report says what the interval rules out. Differences at single targets are shown, not claimed.",
        "The second interval of a mean is from a bootstrap over tasks, which resamples tasks and then samples within "
        f"them: it covers other tasks like these. There is none for fewer than {FEWEST_TASKS} tasks.",
        f"Groups follow a label only if the permutation p-value of their agreement ({plan.bootstrap:,} permutations), "
        f"corrected by Holm's method for the number of labels, is below {alpha}: mostly from NMI {MOSTLY}, partly from "
        f"{PARTLY}.",
        "Groups are reproducible when clusterings of two halves of the training samples have an ARI of at least "
        f"{STABLE}.",
        "RQ2 is decided by the mean gains of routed methods on the test split. One of them must be above the pooled "
        "method of its configuration (the same criterion, allocation and mask) and above every draw of random groups "
        "of the same sizes there, because several profiles may gain without any information in the groups. Methods "
        "with oracle groups, random groups and label groups are controls, not answers.",
        "Of several configurations with routed groups, the one whose pooled method is most accurate decides, because "
        "gains on a weaker one may be what a better pooled profile gives without groups. For this choice alone, "
        "savings are matched between all pooled methods with routed groups.",
        *_primary(plan),
        f"The criterion over targets (an uncorrected interval above zero at {FEWEST_TARGETS} or more, below zero at "
        "none, and no draw of random groups that does the same) is reported beside the verdict and does not decide it.",
        "A yes is qualified unless refit variance is ruled out, that is, unless a routed method gains more than one "
        f"more draw of random groups would be expected to gain ({confidence}, from the mean and standard deviation of "
        "the draws). With fewer than two draws refit variance is not known.",
        "Each correction counts one family: the grouped methods against the pooled one of a configuration; the pairs "
        "with random groups of a configuration; all other methods against the baseline; the tasks of one comparison.",
        f"A router is good enough when the interval of its regret stays below {100 * NEGLIGIBLE:g} point.",
        "A benefit router gains when the interval of the mean benefit of its choices is above zero. A benefit router "
        "over random groups is a control.",
        "An operating point is safe when the interval of its accuracy loss against dense stays below "
        f"{100 * TOLERANCE:g} points.",
        "RQ4 is decided at the smallest batch and shortest context that were timed, by pooled and routed methods. A "
        "point is faster when the lower quartile of its speed-up over the strongest dense baseline is above 1. The "
        "answer is yes when a point is faster and safe, and open when nothing was timed.",
    ]


def _primary(plan: Plan) -> list[str]:
    """The rule of the primary comparison, where there is one."""
    part = plan.primary_part
    if part is None:
        return []
    return [
        "The choice of the configuration uses the samples and targets that every method has. Its answer to RQ2 is read "
        f"from the primary comparison ({method_names(part.sparse)} on all test samples, at "
        f"{target_names(part.targets)}, fixed in the settings) if a routed method of that configuration is in it: "
        "gains, their correction, random groups, refit variance and the criterion over targets. Everything else is "
        "read from the samples that every method has.",
    ]
