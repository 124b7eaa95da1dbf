"""RQ3 in numbers: how often a router finds the group, what its mistakes cost, and what it costs to ask.

Regret is `accuracy(true group) - accuracy(routed group)` for the same profile set at the same target, paired over
samples. The router's own cost is not taken on trust but read off the results: where the routed group is the true one,
both methods ran the same masks on the same tokens, so their FLOPs differ by exactly what the router spent.
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
from pipeline.report.analysis.resampling import Resampler, resampler, task_resampler
from pipeline.statistics.agreement import contingency
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class RouterRow:
    """A router that names groups, on one split.

    `largest` is the share of the largest group: what always naming it would score. `confusion[t, r]` counts samples of
    true group t sent to group r. `new_task` and `new_template` are the accuracies of routers that were fitted without
    the sample's task or wording (tasks are redrawn for the first): of test samples, and None where there is no label.
    """

    router: str
    accuracy: Interval
    largest: float
    confusion: Int[np.ndarray, "groups groups"]
    new_task: Interval | None
    new_template: Interval | None


@dataclass(frozen=True)
class RegretRow:
    """A routed method against its own profile set under true groups. `flops` is the router's cost per sample and
    `share` that cost in units of the dense model's; both are None where no sample was routed to its true group.
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
    found: list[RouterRow] = []
    for name, scheme in plan.routers.items():
        truth = groups_of(evidence, scheme, order)
        routed = routes_of(evidence, name, order)
        hits = draws.intervals((truth == routed)[None].astype(np.float64))[0]
        largest = float(np.bincount(truth).max() / len(truth))
        unmet = [_unmet(plan, evidence, name, label, order) for label in ("task", "template")]
        found.append(RouterRow(name, hits, largest, _confusion(truth, routed), *unmet))
    return found


def regret_rows(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[RegretRow]:
    """One row per routed method that has an oracle among the methods."""
    found: list[RegretRow] = []
    for method in plan.routed:
        oracle = plan.oracle_of(method)
        if oracle is not None:
            found.append(_regret(plan, method, oracle, results[method.name], results[oracle.name], draws))
    return found


def _regret(plan: Plan, method: Method, oracle: Method, routed: Outcome, true: Outcome, draws: Resampler) -> RegretRow:
    gaps = true.score - routed.score
    found = dict(zip(true.targets.tolist(), draws.intervals(gaps), strict=True))
    at_targets = tuple(found.get(target) for target in plan.targets)
    mean = draws.intervals(gaps.mean(axis=0, keepdims=True))[0]
    same = true.group == routed.group
    flops = fraction = None
    if same.any():
        spent = (routed.flops - true.flops)[same]
        flops, fraction = float(spent.mean()), float((spent / routed.dense_flops[same]).mean())
    return RegretRow(method, oracle, at_targets, mean, flops, fraction)


def _unmet(plan: Plan, evidence: Evidence, router: str, label: str, order: pd.Index) -> Interval | None:
    rows: Any = evidence.held_out[router]
    mine = rows[(rows["label"] == label) & rows["sample_id"].isin(order)]
    if mine.empty:
        return None
    asked = pd.Index(mine["sample_id"])
    hits = groups_of(evidence, plan.routers[router], asked) == mine["group"].to_numpy()
    tasks: Any = evidence.samples.set_index("sample_id")["task"].loc[asked]
    draws = task_resampler(plan, tasks.to_numpy(dtype=np.str_)) if label == "task" else None
    return (draws or resampler(plan, len(hits))).intervals(hits[None].astype(np.float64))[0]


def _confusion(truth: np.ndarray, routed: np.ndarray) -> np.ndarray:
    size = int(max(truth.max(), routed.max())) + 1
    everyone = np.arange(
        size
    )  # one sample of each pair of equal groups, taken off again: keeps empty groups in the table
    return contingency(np.r_[truth, everyone], np.r_[routed, everyone]) - np.eye(size, dtype=np.int64)
