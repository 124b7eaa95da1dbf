"""Accuracy, regret and cost of routers (RQ3).

Regret is `accuracy(oracle groups) - accuracy(routed groups)` of the same profile set at the same target, paired over
samples. A router's cost is read off the results: where the routed group is the true one, both methods ran the same
masks on the same tokens, so their FLOPs differ by exactly what the router spent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from pipeline.report.analysis.evidence import Evidence, Outcome, groups_of, routes_of, split_samples
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler, mean_interval
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class RouterRow:
    """A router that classifies prompts by group, on one split.

    `largest` is the fraction of samples in the largest group: the accuracy of always naming it. `new_task` and
    `new_template` are accuracies on test samples of routers that were fitted without the sample's task (interval from
    the bootstrap over tasks) or template; None where there is no such label.
    """

    router: str
    accuracy: Interval
    largest: float
    new_task: Interval | None
    new_template: Interval | None


@dataclass(frozen=True)
class RegretRow:
    """A routed method against its own profile set under oracle groups. `flops` is the router's cost per sample and
    `fraction` that cost in units of the dense model's; both are None where no sample was routed to its true group.
    `at_targets` is None where the methods have no result.
    """

    method: Method
    oracle: Method
    at_targets: tuple[Interval | None, ...]
    mean: Interval
    flops: float | None
    fraction: float | None


def router_rows(plan: Plan, evidence: Evidence, split: str, draws: Resampler) -> list[RouterRow]:
    """One row per router, in the plan's order."""
    order = split_samples(evidence, split).index
    rows: list[RouterRow] = []
    for router, scheme in plan.routers.items():
        truth, routed = groups_of(evidence, scheme, order), routes_of(evidence, router, order)
        accuracy = draws.intervals((truth == routed)[None].astype(np.float64))[0]
        largest = float(np.bincount(truth).max() / len(truth))
        held_out = [_held_out_accuracy(plan, evidence, router, label, order) for label in ("task", "template")]
        rows.append(RouterRow(router, accuracy, largest, *held_out))
    return rows


def regret_rows(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[RegretRow]:
    """One row per routed method that has an oracle among the methods."""
    pairs = [(method, plan.oracle_of(method)) for method in plan.routed]
    return [_regret(plan, results, method, oracle, draws) for method, oracle in pairs if oracle is not None]


def held_out_routes(evidence: Evidence, router: str, label: str) -> tuple[pd.Index, Int[np.ndarray, " samples"]]:
    """Samples and their groups as routed by a router that was fitted without the sample's value of `label`."""
    rows: Any = evidence.held_out[router]
    rows = rows[(rows["label"] == label).to_numpy()]
    return pd.Index(rows["sample_id"]), rows["group"].to_numpy()


def held_out_interval(
    plan: Plan, evidence: Evidence, label: str, sample_ids: pd.Index, values: np.ndarray
) -> Interval | None:
    """The mean of `values`, with the bootstrap over tasks where tasks are held out; None without samples."""
    if not len(sample_ids):
        return None
    tasks: Any = evidence.samples.set_index("sample_id")["task"].loc[sample_ids]
    return mean_interval(plan, values, tasks.to_numpy(dtype=np.str_) if label == "task" else None)


def _regret(plan: Plan, results: Mapping[str, Outcome], method: Method, oracle: Method, draws: Resampler) -> RegretRow:
    routed, true = results[method.name], results[oracle.name]
    gaps = true.score - routed.score
    by_target = dict(zip(true.targets.tolist(), draws.intervals(gaps), strict=True))
    mean = draws.intervals(gaps.mean(axis=0, keepdims=True))[0]
    same = true.group == routed.group
    flops = fraction = None
    if same.any():
        spent = (routed.flops - true.flops)[same]
        flops, fraction = float(spent.mean()), float((spent / routed.dense_flops[same]).mean())
    return RegretRow(method, oracle, tuple(by_target.get(target) for target in plan.targets), mean, flops, fraction)


def _held_out_accuracy(plan: Plan, evidence: Evidence, router: str, label: str, order: pd.Index) -> Interval | None:
    sample_ids, groups = held_out_routes(evidence, router, label)
    is_asked = sample_ids.isin(order)
    sample_ids, groups = sample_ids[is_asked], groups[is_asked]
    hits = groups_of(evidence, plan.routers[router], sample_ids) == groups
    return held_out_interval(plan, evidence, label, sample_ids, hits.astype(np.float64))
