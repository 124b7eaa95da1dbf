"""Benefit routers (RQ3): how often they keep the pooled profile, and the benefit of their choices.

A benefit router predicts the benefit of each profile, not a label, so it has no accuracy. Its choices are scored by the
benefits measured in the table `benefits`: the log of the factor by which the divergence from the dense model becomes
smaller, 0 for the pooled profile. Two alternatives stand beside it: every sample's own group, and for all samples the
one group that is best on train samples (if any is), which needs no routing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pipeline.report.analysis.evidence import Evidence, groups_of, routes_of, split_samples
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import mean_interval
from pipeline.report.analysis.routers import held_out_interval, held_out_routes, routing_cost
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class BenefitRouterRow:
    """A benefit router on the test split; benefits are means over the samples for which benefits were measured.

    Attributes:
        abstained: fraction of samples that keep the pooled profile.
        benefit: benefit of its choices.
        own: benefit if every sample got the profile of its own group.
        constant: benefit if all samples got the profile of the group that is best on train samples, or the pooled one.
        new_task, new_template: benefit of the choices of benefit routers that were fitted without the sample's task
            (interval from the bootstrap over tasks) or template; None where the samples have no such label.
        flops: mean cost a sample.
        fraction: mean cost in units of the dense model's.
    """

    router: str
    abstained: Interval
    benefit: Interval
    own: Interval
    constant: Interval
    new_task: Interval | None
    new_template: Interval | None
    flops: float
    fraction: float


def benefit_router_rows(plan: Plan, evidence: Evidence) -> list[BenefitRouterRow]:
    """One row per benefit router, in the plan's order, from the test split."""
    return [_row(plan, evidence, router, scheme) for router, scheme in plan.benefit_routers.items()]


def _row(plan: Plan, evidence: Evidence, router: str, scheme: str) -> BenefitRouterRow:
    table: Any = evidence.benefits[router]
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    benefits, measured = _with_pooled(test), pd.Index(test["sample_id"])
    pooled = benefits.shape[1] - 1

    def benefit(groups: Int[np.ndarray, " measured"]) -> Interval:
        return mean_interval(plan, benefits[np.arange(len(groups)), groups])

    def held_out(label: str) -> Interval | None:
        sample_ids, groups = held_out_routes(evidence, router, label)
        rows = measured.get_indexer(sample_ids)
        known = rows >= 0
        values = benefits[rows[known], groups[known]]
        return held_out_interval(plan, evidence, label, sample_ids[known], values)

    samples = split_samples(evidence, "test")
    routes = evidence.routes[router].set_index("sample_id").loc[samples.index]
    flops, fraction = routing_cost(plan, evidence, router)
    return BenefitRouterRow(
        router=router,
        abstained=mean_interval(plan, (routes["group"] == pooled).to_numpy(dtype=np.float64)),
        benefit=benefit(routes_of(evidence, router, measured)),
        own=benefit(groups_of(evidence, scheme, measured)),
        constant=benefit(np.full(len(measured), _with_pooled(train).mean(axis=0).argmax())),
        new_task=held_out("task"),
        new_template=held_out("template"),
        flops=flops,
        fraction=fraction,
    )


def _with_pooled(rows: pd.DataFrame) -> Float[np.ndarray, "samples groups_and_pooled"]:
    """Benefits of every group's profile and, last, of the pooled one: 0."""
    benefits = np.stack(rows["benefits"].to_list())
    return np.column_stack([benefits, np.zeros(len(benefits))])
