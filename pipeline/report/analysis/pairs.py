"""Which methods are compared with which: families of pairs, each corrected for its own size.

*Gains*: what groups add to the pooled method of their own configuration; one family a configuration, because RQ2 is
decided on one of them (`pipeline/report/analysis/ranking.py`). *Controls*: groups against random groups of the same
sizes, one family a configuration. *Differences*: all other methods against the baseline, in one family; gains are not
repeated there, so no pair has two p-values.
"""

from __future__ import annotations

from pipeline.report.analysis.configurations import configurations
from pipeline.report.analysis.plan import Method, Plan
from pipeline.statistics.significance import fewest_replicates
from wina_amp.errors import UserError
from wina_amp.names import ACTIVATION, WINA

Pairs = list[tuple[Method, Method]]
"""(method, reference)"""


def gain_pairs(plan: Plan) -> list[Pairs]:
    """Configuration by configuration: every grouped method against the pooled one."""
    families = [
        [(method, configuration.pooled) for method in configuration.grouped if configuration.pooled]
        for configuration in configurations(plan)
    ]
    return [pairs for pairs in families if pairs]


def is_literal(method: Method) -> bool:
    """Whether its gain answers the question as it was asked: WINA's profiles per activation cluster, routed, against
    WINA's own pooled profile."""
    return method.is_routed and method.scheme == ACTIVATION and method.criterion == WINA


def control_pairs(plan: Plan) -> list[Pairs]:
    """Configuration by configuration: every method with informative groups against every draw of random groups."""
    families = [
        [(m, control) for control in configuration.controls for m in configuration.grouped if not m.is_control]
        for configuration in configurations(plan)
    ]
    return [pairs for pairs in families if pairs]


def baseline_pairs(plan: Plan) -> Pairs:
    """Every sparse method against the pooled baseline, except pairs that are gains."""
    baseline, gains = plan.method(plan.baseline), {pair for pairs in gain_pairs(plan) for pair in pairs}
    pairs = [(method, baseline) for method in plan.sparse if method != baseline]
    return [pair for pair in pairs if pair not in gains]


def check_replicates(plan: Plan) -> None:
    """Refuse so few replicates that no corrected p-value could be small enough, whatever the results.

    Raises:
        UserError: names the number of comparisons and of replicates that they need.
    """
    comparisons = max(map(len, [baseline_pairs(plan), *gain_pairs(plan), *control_pairs(plan)]))
    needed = fewest_replicates(comparisons, plan.alpha)
    if comparisons and plan.bootstrap < needed:
        raise UserError(
            f"`report.bootstrap` must allow a p-value below {plan.alpha:g}, corrected for {comparisons} comparisons",
            found=plan.bootstrap,
            where="`report.bootstrap` in params.yaml",
            remedy=f"set it to {needed} or more, or compare fewer methods",
        )
