"""RQ3 for benefit routers: how often they leave the pooled profile, and what their choices bring.

A benefit router predicts what profiles bring, not a label, so it has no accuracy. What its choices bring is measured
instead, as the table `benefits` has it: the log of how many times smaller the divergence from the dense model becomes,
0 for the pooled profile. Two simpler choices stand beside it: every sample's own group, and for all samples the one
group that is best on train samples (if any is), which is not routing at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pipeline.report.analysis.evidence import Evidence, groups_of, routes_of, split_samples
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import resampler, task_resampler
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class BenefitRouterRow:
    """A benefit router on the test split.

    Attributes:
        gate: its name. abstained: share of samples left to the pooled profile. brings: mean benefit of its choices.
        own: the same if every sample got the profile of its own group. constant: the same if all samples got that of
        the group that is best on train samples, or pooled if none is. new_task, new_template: what the choices of a
        benefit router bring that has not met the sample's task or wording; None
            where the samples have no such label. Tasks are redrawn for the first.
        flops: mean cost a sample.
        share: that in units of the dense model's, averaged over samples.
    """

    gate: str
    abstained: Interval
    brings: Interval
    own: Interval
    constant: Interval
    new_task: Interval | None
    new_template: Interval | None
    flops: float
    fraction: float


def benefit_router_rows(plan: Plan, evidence: Evidence) -> list[BenefitRouterRow]:
    """One row per benefit router, in the plan's order, from the test split."""
    return [_row(plan, evidence, gate, scheme) for gate, scheme in plan.benefit_routers.items()]


def _row(plan: Plan, evidence: Evidence, gate: str, scheme: str) -> BenefitRouterRow:
    samples = split_samples(evidence, "test")
    table: Any = evidence.benefits[gate]
    train, test = (table[table["split"] == split] for split in ("train", "test"))
    brought, measured = _with_pooled(test), pd.Index(test["sample_id"])
    pooled = brought.shape[1] - 1

    def mean(groups: Int[np.ndarray, " measured"]) -> Interval:
        return _mean(plan, brought[np.arange(len(groups)), groups])

    routes = evidence.routes[gate].set_index("sample_id").loc[samples.index]
    dense: Any = evidence.results[plan.dense.name].set_index("sample_id")["dense_flops"].loc[samples.index]
    abstained = (routes["group"] == pooled).to_numpy(dtype=np.float64)
    return BenefitRouterRow(
        gate=gate,
        abstained=_mean(plan, abstained),
        brings=mean(routes_of(evidence, gate, measured)),
        own=mean(groups_of(evidence, scheme, measured)),
        constant=mean(np.full(len(measured), _with_pooled(train).mean(axis=0).argmax())),
        new_task=_unmet(plan, evidence, gate, "task", brought, measured),
        new_template=_unmet(plan, evidence, gate, "template", brought, measured),
        flops=float(routes["flops"].mean()),
        fraction=float((routes["flops"] / dense).mean()),
    )


def _unmet(
    plan: Plan,
    evidence: Evidence,
    gate: str,
    label: str,
    brought: Float[np.ndarray, "measured groups_and_pooled"],
    measured: pd.Index,
) -> Interval | None:
    """What the choices of benefit routers bring that have not met the label."""
    rows = evidence.held_out[gate]
    groups: Any = rows[(rows["label"] == label).to_numpy()].set_index("sample_id")["group"]
    place = measured.get_indexer(groups.index)
    known = place >= 0
    if not known.any():
        return None
    values = brought[place[known], groups.to_numpy()[known]]
    if label != "task":
        return _mean(plan, values)
    tasks = evidence.samples.set_index("sample_id")["task"].loc[groups.index[known]]
    return _mean(plan, values, tasks.to_numpy(dtype=np.str_))


def _mean(plan: Plan, values: Float[np.ndarray, " samples"], tasks: np.ndarray | None = None) -> Interval:
    draws = task_resampler(plan, tasks) if tasks is not None else None
    return (draws or resampler(plan, len(values))).intervals(values[None])[0]


def _with_pooled(rows: pd.DataFrame) -> Float[np.ndarray, "samples groups_and_pooled"]:
    """Benefits of every group, and the pooled profile's: none."""
    found = np.stack(rows["benefits"].to_list())
    return np.column_stack([found, np.zeros(len(found))])
