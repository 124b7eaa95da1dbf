"""The tables of earlier stages, checked against the plan and aligned over samples.

Everything iterates the plan, never the files that happen to exist: a method that was removed from the plan leaves its
file behind and must not come back in the report.

`outcomes` turns result rows into arrays with one column per sample, in one order for every method, because every
comparison in the report is paired over samples. Tables that do not fit together (other samples, a missing target) are
refused here, so that later modules need no checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from pipeline.evaluate.first_samples import among_first
from pipeline.protocol.confirmed import Confirmed
from pipeline.report.analysis.plan import Method, Plan
from wina_amp.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """The tables, by name (see `pipeline/storage/schemas.py`).

    Args:
        samples: SAMPLES.
        sample_counts: SAMPLE_COUNTS.
        assignments: scheme -> ASSIGNMENTS.
        variants: CLUSTER_VARIANTS.
        cluster_map: CLUSTER_MAP.
        quality: data/cluster_quality.json.
        gradient: data/assignments/gradient.json; empty where the scheme is not part of the plan.
        routes: router or benefit router -> ROUTES.
        held_out: router or benefit router -> HELD_OUT.
        benefits: benefit router -> BENEFITS.
        costs: profile set -> ALLOCATION_COSTS.
        profiles: profile set -> PROFILES.
        results: method -> RESULTS.
        timings: TIMINGS.
        latency_facts: data/latency/facts.json.
        confirmed: the answers of the confirmation split; None unless they are of this checkpoint and protocol.
    """

    samples: pd.DataFrame
    sample_counts: pd.DataFrame
    assignments: Mapping[str, pd.DataFrame]
    variants: pd.DataFrame
    cluster_map: pd.DataFrame
    quality: Mapping[str, Any]
    gradient: Mapping[str, Any]
    routes: Mapping[str, pd.DataFrame]
    held_out: Mapping[str, pd.DataFrame]
    benefits: Mapping[str, pd.DataFrame]
    costs: Mapping[str, pd.DataFrame]
    profiles: Mapping[str, pd.DataFrame]
    results: Mapping[str, pd.DataFrame]
    timings: pd.DataFrame
    latency_facts: Mapping[str, Any]
    confirmed: Confirmed | None = None


@dataclass(frozen=True)
class Outcome:
    """One method on one split: a row per target, a column per sample (columns are the same samples for every method).

    `compute` is the fraction of the dense model's FLOPs that remain, router and scoring included. `score` is NaN for
    text, `loglikelihood` for generation.
    """

    targets: Float[np.ndarray, " targets"]
    score: Float[np.ndarray, "targets samples"]
    loglikelihood: Float[np.ndarray, "targets samples"]
    sparsity: Float[np.ndarray, "targets samples"]
    compute: Float[np.ndarray, "targets samples"]
    group: Int[np.ndarray, "targets samples"]

    def only(self, chosen: Bool[np.ndarray, " samples"]) -> Outcome:
        """The same method on some of the samples."""
        names = [field.name for field in fields(self) if field.name != "targets"]
        return Outcome(self.targets, **{name: getattr(self, name)[:, chosen] for name in names})


def split_samples(evidence: Evidence, split: str) -> pd.DataFrame:
    """The samples of `split`, ordered by `sample_id`: the column order of every `Outcome`."""
    return _of_split(evidence.samples, split).sort_values("sample_id").set_index("sample_id")


def evaluated_samples(plan: Plan, evidence: Evidence, split: str) -> pd.DataFrame:
    """Those of `split_samples` that every method of the plan was evaluated on: the first of each task."""
    rows = split_samples(evidence, split)
    return rows.loc[among_first(rows, plan.limits)]


def outcomes(plan: Plan, evidence: Evidence, split: str) -> dict[str, Outcome]:
    """Method -> its outcome on `evaluated_samples`.

    Raises:
        UserError: when a method's rows do not cover those samples at every one of its targets, or are of other samples;
            only dense and primary methods have results of more test samples.
    """
    order = pd.Index(evaluated_samples(plan, evidence, split).index)
    return {method.name: _outcome(plan, method, evidence, split, order) for method in plan.methods}


def targets_of(plan: Plan, method: Method, evidence: Evidence) -> tuple[float, ...]:
    """The targets of the plan that a sparse method has: all, or those that the profile set of a limited one reaches."""
    if not method.is_limited:
        return plan.targets
    reached = set(evidence.profiles[method.profile]["target"].tolist())
    return tuple(target for target in plan.targets if target in reached)


def total(rows: pd.DataFrame, column: str) -> float:
    """The sum of a column of numbers."""
    return float(rows[column].to_numpy().sum())


def groups_of(evidence: Evidence, scheme: str, order: pd.Index) -> Int[np.ndarray, " samples"]:
    """The group of each sample of `order` under `scheme`."""
    return _aligned(evidence.assignments[scheme], order, f"data/assignments/{scheme}.parquet")


def variants_of(evidence: Evidence, order: pd.Index) -> dict[tuple[str, int], Int[np.ndarray, " samples"]]:
    """(variant, block) -> the group of each sample of `order`, in the table's order."""
    where = "data/cluster_variants.parquet"
    parts = evidence.variants.groupby(["variant", "block"], sort=True)
    return {cast(tuple[str, int], key): _aligned(rows, order, where) for key, rows in parts}


def routes_of(evidence: Evidence, router: str, order: pd.Index) -> Int[np.ndarray, " samples"]:
    """The group that a router or benefit router gives each sample of `order`."""
    return _aligned(evidence.routes[router], order, f"data/routes/{router}.parquet")


def _outcome(plan: Plan, method: Method, evidence: Evidence, split: str, order: pd.Index) -> Outcome:
    rows = _of_split(evidence.results[method.name], split)
    targets = np.unique(rows["target"])[:1] if method.is_dense else np.asarray(targets_of(plan, method, evidence))
    has_more = split == "test" and (method.name in plan.primary or (method.is_dense and bool(plan.primary)))
    allowed = pd.Index(split_samples(evidence, split).index) if has_more else order
    _check_cover(rows, targets, order, allowed, f"data/results/{method.name}.parquet, split {split}")
    chosen: Any = rows.loc[(rows["target"].isin(targets.tolist()) & rows["sample_id"].isin(order.tolist())).to_numpy()]

    def grid(column: str) -> np.ndarray:
        return chosen.pivot(index="target", columns="sample_id", values=column).loc[targets, order].to_numpy()

    return Outcome(
        targets,
        score=grid("score"),
        loglikelihood=grid("loglikelihood"),
        sparsity=grid("realised_sparsity"),
        compute=grid("flops") / grid("dense_flops"),
        group=grid("group"),
    )


def _of_split(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    return rows.loc[(rows["split"] == split).to_numpy()]


def _check_cover(rows: pd.DataFrame, targets: np.ndarray, order: pd.Index, allowed: pd.Index, where: str) -> None:
    pairs = pd.MultiIndex.from_arrays([rows["target"], rows["sample_id"]])
    missing = pd.MultiIndex.from_product([targets, order]).difference(pairs)
    stray = pd.Index(rows["sample_id"].unique()).difference(allowed)
    if len(missing) or len(stray) or not len(targets):
        examples = ", ".join(f"{sample} at {target:g}" for target, sample in missing[:3]) or "none"
        raise UserError(
            "The results of every method must cover the same samples at every target",
            found=f"{len(missing)} results missing ({examples}), results of {len(stray)} unknown samples",
            where=where,
            remedy="run `dvc repro`",
        )


def _aligned(rows: pd.DataFrame, order: pd.Index, where: str) -> np.ndarray:
    groups = cast(pd.Series, rows.set_index("sample_id")["group"]).reindex(order)
    missing = int(groups.isna().to_numpy().sum())
    if missing:
        raise UserError(
            "Every sample must have a group",
            found=f"{missing} samples without a group",
            where=where,
            remedy="run `dvc repro`",
        )
    return groups.to_numpy(dtype=np.int64)
