"""allocate: group histograms (for `greedy` and `kl` also text and the model; for `pooled` another allocation) -> the
sparsity of every projection, and the cost of finding it.

Torch and the model are only loaded by allocators that run the model; for shapes its config.json is enough.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.profiles.uniform import uniform_rows
from pipeline.storage.schemas import ALLOCATION_COSTS, ALLOCATIONS, GROUP_HISTOGRAMS
from stages.allocate_greedy import greedy
from stages.allocate_kl import kl
from stages.allocate_shrunk import shrunk
from stages.inputs import paths
from stages.inputs.allocation import Costs
from wina_amp.allocation.calibration.cost import Cost
from wina_amp.errors import UserError
from wina_amp.names import GATE_CRITERIA, POOLED

log = logging.getLogger("stages.allocate")


def main(settings: Settings, name: str) -> None:
    """Write the `allocations` and the `allocation_costs` of profile set `name`."""
    profile = settings.profiles[name]
    histograms = GROUP_HISTOGRAMS.read(paths.group_histograms(profile.scheme))
    costs: Costs = {}  # what is not listed took nothing
    if profile.allocation == "uniform":
        rows = _uniform(settings, name, profile, histograms)
    elif profile.allocation == POOLED:
        rows = _as_pooled(str(profile.parent), sorted(set(histograms["group"].tolist())))
    else:
        search = shrunk if profile.parent is not None else greedy if profile.allocation == "greedy" else kl
        rows, costs = search(settings, name, profile, histograms)
    if "strength" not in rows:
        rows = rows.assign(strength=np.nan)
    ALLOCATIONS.write(rows.assign(profile=name), paths.allocations(name))
    groups = sorted(set(rows["group"].tolist()))
    spent = [{"profile": name, "group": group, **costs.get(group, Cost()).columns()} for group in groups]
    ALLOCATION_COSTS.write(pd.DataFrame(spent), paths.allocation_costs(name))


def _uniform(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> pd.DataFrame:
    """The targets that the criterion's masks can reach; those that they cannot are left out, and the log says so."""
    targets, fraction = settings.evaluate.targets, _fraction(settings, profile.criterion)
    reachable = [target for target in targets if target <= fraction]
    if not reachable:
        raise UserError(
            f"A target must be at most {fraction:.3f}, the fraction of the weights that `{profile.criterion}` can mask",
            found=", ".join(f"{target:g}" for target in targets),
            where="`evaluate.targets` in params.yaml",
            remedy=f"add a lower target, or give `profiles.{name}` another criterion",
        )
    if len(reachable) < len(targets):
        lost = ", ".join(f"{target:g}" for target in targets if target > fraction)
        log.warning("`%s` can mask %.3f of the weights: no allocation at %s", profile.criterion, fraction, lost)
    return uniform_rows(histograms[histograms["criterion"] == profile.criterion], reachable, name, fraction)


def _as_pooled(parent: str, groups: list[int]) -> pd.DataFrame:
    """The pooled allocation, for every group."""
    pooled: Any = ALLOCATIONS.read(paths.allocations(parent)).drop(columns=["profile", "strength"])
    return pd.concat([pooled.assign(group=group, predicted_error=np.nan) for group in groups], ignore_index=True)


def _fraction(settings: Settings, criterion: str) -> float:
    """The fraction of all projections' weights that the criterion's masks gate."""
    if criterion not in GATE_CRITERIA:
        return 1.0
    from wina_amp.models.mask_sites import mask_sites, maskable_fraction
    from wina_amp.models.projections import projections
    from wina_amp.models.skeleton import skeleton
    from wina_amp.scoring.criteria import criterion_row

    model = skeleton(settings.model.path, settings.model.revision)
    return maskable_fraction(mask_sites(model, criterion_row(criterion).reads), projections(model))
