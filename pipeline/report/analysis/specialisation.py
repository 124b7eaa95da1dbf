"""Allocations: the pooled one of every configuration, and how far those of groups are from it.

If groups get nearly the same allocation, routing between them cannot matter, whatever the clusters look like. Random
groups get different allocations, too, because each was fitted to other samples: differences of learned groups must be
compared with theirs. Profiles are read at one target, the one nearest the middle of the profile set's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.configurations import configuration_name, configurations, group_kind
from pipeline.report.analysis.evidence import Evidence, targets_of
from pipeline.report.analysis.plan import Method, Plan

ORDER = ("q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down")


@dataclass(frozen=True)
class PooledAllocation:
    """`values[projection, block]` are the pooled sparsities of a configuration at `target`."""

    configuration: str
    profile: str
    target: float
    projections: tuple[str, ...]
    values: Float[np.ndarray, "projections blocks"]

    @property
    def is_flat(self) -> bool:
        """Whether all projections have the same sparsity."""
        return float(np.ptp(self.values)) < 1e-9  # rounding


@dataclass(frozen=True)
class Specialisation:
    """The groups of a profile set against the pooled profile of its configuration at `target`: `shifts[g, projection,
    block]` is group g's sparsity minus the pooled one. `kind` says which groups these are.
    """

    profile: str
    reference: str
    kind: str
    is_learned: bool
    target: float
    projections: tuple[str, ...]
    shifts: Float[np.ndarray, "groups projections blocks"]

    @property
    def mean_shift(self) -> Float[np.ndarray, " groups"]:
        """Mean absolute difference of each group."""
        return np.abs(self.shifts).mean(axis=(1, 2))


def pooled_allocations(plan: Plan, evidence: Evidence) -> list[PooledAllocation]:
    """One per pooled profile set, in the order of the configurations; kinds of masks share a profile set."""
    allocations: dict[str, PooledAllocation] = {}
    for configuration in configurations(plan):
        if configuration.pooled and configuration.pooled.profile not in allocations:
            name, target = configuration.pooled.profile, _middle(plan, configuration.pooled, evidence)
            order = _projections(evidence, name)
            values = _grids(evidence, name, target, order)[0]
            allocations[name] = PooledAllocation(configuration_name(plan, configuration), name, target, order, values)
    return list(allocations.values())


def specialisations(plan: Plan, evidence: Evidence) -> list[Specialisation]:
    """One per profile set with groups that has a pooled counterpart of the same criterion and allocation."""
    grouped = {
        method.profile: method for configuration in configurations(plan) for method in reversed(configuration.grouped)
    }
    rows: list[Specialisation] = []
    for profile, method in grouped.items():
        reference = _pooled(plan, method)
        if reference is not None:
            target, order = _middle(plan, method, evidence), _projections(evidence, reference.profile)
            shifts = _grids(evidence, profile, target, order) - _grids(evidence, reference.profile, target, order)
            kind = "learned groups" if method.is_learned else group_kind(method)
            rows.append(Specialisation(profile, reference.profile, kind, method.is_learned, target, order, shifts))
    return sorted(rows, key=lambda row: not row.is_learned)


def _pooled(plan: Plan, method: Method) -> Method | None:
    same = (other for other in plan.sparse if other.is_pooled and other.configuration[:2] == method.configuration[:2])
    return next(same, None)


def _middle(plan: Plan, method: Method, evidence: Evidence) -> float:
    targets = targets_of(plan, method, evidence)
    middle = float(np.median(targets))
    return min(targets, key=lambda target: (round(abs(target - middle), 9), -target))


def _projections(evidence: Evidence, profile: str) -> tuple[str, ...]:
    names = dict.fromkeys(evidence.profiles[profile]["projection"])
    return tuple(dict.fromkeys([*(name for name in ORDER if name in names), *names]))


def _grids(
    evidence: Evidence, profile: str, target: float, order: tuple[str, ...]
) -> Float[np.ndarray, "groups projections blocks"]:
    rows = evidence.profiles[profile]
    rows = rows[rows["target"] == target]
    wide = rows.pivot(index=["group", "projection"], columns="block", values="sparsity")
    return np.stack([wide.loc[group].loc[list(order)].to_numpy() for group in np.unique(rows["group"])])
