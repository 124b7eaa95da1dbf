"""How different the groups' profiles are: the sparsity each group gives every projection, beside the pooled one.

If groups get nearly the same allocation, routing between them cannot matter, whatever the clusters look like; so this
stands beside RQ2. Profiles are read at one target, the one nearest the middle of the profile set's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from pipeline.report.evidence import Evidence, targets_of
from pipeline.report.plan import ACTIVATION, Method, Plan


@dataclass(frozen=True)
class Specialisation:
    """`pooled[projection, block]` and `groups[g, projection, block]` are sparsities at `target`; `mean_shift[g]` is the
    mean absolute difference of group g from the pooled profile.
    """

    profile: str
    reference: str
    target: float
    projections: tuple[str, ...]
    pooled: Float[np.ndarray, "projections blocks"]
    groups: Float[np.ndarray, "groups projections blocks"]
    mean_shift: Float[np.ndarray, " groups"]


def specialisations(plan: Plan, evidence: Evidence) -> list[Specialisation]:
    """One per profile set of learned groups that has a pooled counterpart with the same criterion and allocation."""
    clustered = {method.profile: method for method in plan.sparse if method.scheme == ACTIVATION}
    found: list[Specialisation] = []
    for method in clustered.values():
        pooled = _pooled(plan, method)
        if pooled is not None:
            known = targets_of(plan, method, evidence)
            middle = float(np.median(known))
            target = min(known, key=lambda value: (round(abs(value - middle), 9), -value))
            found.append(_compare(evidence, method.profile, pooled.profile, target))
    return found


def _pooled(plan: Plan, method: Method) -> Method | None:
    same = (
        other
        for other in plan.sparse
        if other.is_pooled and (other.criterion, other.allocation) == (method.criterion, method.allocation)
    )
    return next(same, None)


def _compare(evidence: Evidence, profile: str, reference: str, target: float) -> Specialisation:
    own, shared = evidence.profiles[profile], evidence.profiles[reference]
    projections = tuple(dict.fromkeys(shared.sort_values(["block"], kind="stable")["projection"]))
    order = tuple(name for name in ("q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down") if name in projections)
    order += tuple(name for name in projections if name not in order)
    pooled = _grid(shared, target, 0, order)
    groups = np.stack([_grid(own, target, int(group), order) for group in np.unique(own["group"])])
    shift = np.abs(groups - pooled).mean(axis=(1, 2))
    return Specialisation(profile, reference, target, order, pooled, groups, shift)


def _grid(profiles: pd.DataFrame, target: float, group: int, order: tuple[str, ...]) -> np.ndarray:
    rows = profiles[(profiles["target"] == target) & (profiles["group"] == group)]
    wide = rows.pivot(index="projection", columns="block", values="sparsity")
    return wide.loc[list(order)].to_numpy()
