"""Accuracy, regret and cost of routers (RQ3).

Regret is `accuracy(known groups) - accuracy(routed groups)` of the same profile set at the same target, paired over
samples. Where a sample is sent to its own group, both run the same masks on the same tokens: if all are, regret is
exactly 0, and otherwise at most the fraction that is sent elsewhere, whether or not a method with known groups was run.
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
    """A router that classifies prompts by group, on the test split.

    `largest` is the fraction of samples in the largest group: the accuracy of always naming it. `new_task` and
    `new_template` are accuracies on test samples of routers that were fitted without the sample's task (interval from
    the bootstrap over tasks) or template; None where there is no such label. `flops` is the cost of routing a sample,
    `fraction` that cost in units of the dense model's.
    """

    router: str
    accuracy: Interval
    largest: float
    new_task: Interval | None
    new_template: Interval | None
    flops: float
    fraction: float


@dataclass(frozen=True)
class RegretRow:
    """A routed method against its own profile set under known groups. `elsewhere` is the fraction of samples that were
    not sent to their group, the most that regret can be. `at_targets` and `mean` are None where regret is not known:
    samples were sent elsewhere, and no method with known groups was run on these samples.
    """

    method: Method
    elsewhere: float
    at_targets: tuple[Interval | None, ...]
    mean: Interval | None

    @property
    def most(self) -> float:
        """What is lost at most: the upper end of the interval, or the fraction that was sent elsewhere."""
        return self.elsewhere if self.mean is None else self.mean.high


def router_rows(plan: Plan, evidence: Evidence) -> list[RouterRow]:
    """One row per router, in the plan's order."""
    order = split_samples(evidence, "test").index
    rows: list[RouterRow] = []
    for router, scheme in plan.routers.items():
        truth, routed = groups_of(evidence, scheme, order), routes_of(evidence, router, order)
        accuracy = mean_interval(plan, (truth == routed).astype(np.float64))
        largest = float(np.bincount(truth).max() / len(truth))
        task, template = (_held_out_accuracy(plan, evidence, router, label, order) for label in ("task", "template"))
        rows.append(RouterRow(router, accuracy, largest, task, template, *routing_cost(plan, evidence, router)))
    return rows


def routing_cost(plan: Plan, evidence: Evidence, router: str) -> tuple[float, float]:
    """FLOPs of routing a sample, and in units of the dense model's: means over its test samples."""
    dense: Any = evidence.results[plan.dense.name]
    rows = dense[dense["split"] == "test"][["sample_id", "dense_flops"]].merge(evidence.routes[router], on="sample_id")
    return float(rows["flops"].mean()), float((rows["flops"] / rows["dense_flops"]).mean())


def regret_rows(
    plan: Plan, evidence: Evidence, results: Mapping[str, Outcome], order: pd.Index, draws: Resampler
) -> list[RegretRow]:
    """One row per method that a router routes, no benefit router; `order` are the samples of the outcomes."""
    routed = [method for method in plan.methods if method.is_routed and method.groups in plan.routers]
    return [_regret(plan, results, method, groups_of(evidence, method.scheme, order), draws) for method in routed]


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


def _regret(
    plan: Plan, results: Mapping[str, Outcome], method: Method, groups: Int[np.ndarray, " samples"], draws: Resampler
) -> RegretRow:
    routed, oracle = results[method.name], plan.oracle_of(method)
    is_elsewhere = routed.group[0] != groups
    if oracle is None and is_elsewhere.any():
        return RegretRow(method, float(is_elsewhere.mean()), (None,) * len(plan.targets), None)
    gaps = (results[oracle.name] if oracle is not None else routed).score - routed.score
    by_target = dict(zip(routed.targets.tolist(), draws.intervals(gaps), strict=True))
    mean = draws.intervals(gaps.mean(axis=0, keepdims=True))[0]
    at_targets = tuple(by_target.get(target) for target in plan.targets)
    return RegretRow(method, float(is_elsewhere.mean()), at_targets, mean)


def _held_out_accuracy(plan: Plan, evidence: Evidence, router: str, label: str, order: pd.Index) -> Interval | None:
    sample_ids, groups = held_out_routes(evidence, router, label)
    is_asked = sample_ids.isin(order)
    sample_ids, groups = sample_ids[is_asked], groups[is_asked]
    hits = groups_of(evidence, plan.routers[router], sample_ids) == groups
    return held_out_interval(plan, evidence, label, sample_ids, hits.astype(np.float64))
