"""allocate: group histograms (for `greedy` and `kl` also text and the model; for `pooled` another allocation) -> the
sparsity of every projection, and the cost of finding it.

Torch and the model are only loaded by allocators that run the model; for shapes its config.json is enough. Greedy paths
are stored per group and do not depend on the targets, so a crash loses at most one group and a new target below the
highest costs nothing. `kl` stores every loss and every tenth step of its descents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.profiles.uniform import uniform_rows
from pipeline.storage.parts import JsonParts
from pipeline.storage.schemas import ALLOCATION_COSTS, ALLOCATIONS, GROUP_HISTOGRAMS
from stages.allocate_kl import alone, from_pooled
from stages.inputs import paths
from stages.inputs.allocation import (
    Costs,
    allocation_scratch,
    counts_of,
    group_texts,
)
from stages.inputs.model import load_model
from wina_amp.allocation.calibration.cost import Cost, Meter, MeteredStore
from wina_amp.allocation.greedy.search import Path as GreedyPath
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.names import GATE_CRITERIA, POOLED
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.allocation.greedy.blockwise import BlockPath
    from wina_amp.models.load import LoadedModel

log = logging.getLogger("stages.allocate")


def main(settings: Settings, name: str) -> None:
    """Write the `allocations` and the `allocation_costs` of profile set `name`."""
    profile = settings.profiles[name]
    histograms = GROUP_HISTOGRAMS.read(paths.group_histograms(profile.scheme))
    costs: Costs
    if profile.allocation == "uniform":
        rows = _uniform(settings, name, profile, histograms)
        costs = {group: Cost() for group in set(rows["group"].tolist())}
    elif profile.allocation == POOLED:
        rows = _as_pooled(str(profile.parent), sorted(set(histograms["group"].tolist())))
        costs = {group: Cost() for group in set(rows["group"].tolist())}
    else:
        search = _greedy if profile.allocation == "greedy" else alone if profile.parent is None else from_pooled
        rows, costs = search(settings, name, profile, histograms)
    if "strength" not in rows:
        rows = rows.assign(strength=np.nan)
    ALLOCATIONS.write(rows.assign(profile=name), paths.allocations(name))
    spent = [{"profile": name, "group": group, **cost.columns()} for group, cost in costs.items()]
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


def _greedy(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    from wina_amp.allocation.greedy.blockwise import block_paths

    histograms = histograms[histograms["criterion"] == profile.criterion]
    groups = sorted(set(histograms["group"].tolist()))
    loaded: LoadedModel | None = None
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    meter = Meter()
    with allocation_scratch(settings, name) as scratch:
        for group in groups:
            part = f"{group:05d}"
            store = MeteredStore(JsonParts(scratch, ""), meter)
            paths = store.get(part)
            if paths is None:
                loaded = loaded or load_model(settings.model)
                store.leave_out()
                log.info("greedy: group %d of %d", group + 1, len(groups))
                by_block = block_paths(
                    loaded,
                    _texts(settings, profile, group),
                    counts_of(histograms[histograms["group"] == group], Bins(settings.capture.mantissa_bits)),
                    bins=Bins(settings.capture.mantissa_bits),
                    criterion=profile.criterion,
                    stop=max(settings.evaluate.targets),
                    step=settings.allocate.greedy_step,
                    dense_prefix=settings.tokens.dense_prefix,
                    budget=settings.tokens.batch,
                    is_lazy=settings.allocate.greedy_search == "lazy",
                    meter=meter,
                )
                paths = [_to_json(block_path) for block_path in by_block]
                store.put(part, paths)
            rows.append(pd.DataFrame(_rows(paths, group, settings.evaluate.targets)))
            costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def _texts(settings: Settings, profile: ProfileSettings, group: int) -> list[TokenizedSample]:
    """As much text of the group as `greedy` measures on."""
    from wina_amp.allocation.calibration.texts import choose

    return choose(
        group_texts(profile.scheme, group, settings.seed),
        tokens=settings.allocate.greedy_tokens,
        dense_prefix=settings.tokens.dense_prefix,
        seed=settings.seed,
    )


def _to_json(path: BlockPath) -> dict[str, Any]:
    return {"block": path.block, "projections": path.projections, "path": path.path.to_lists()}


def _rows(paths: list[dict[str, Any]], group: int, targets: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    for block in paths:
        path = GreedyPath.from_lists(block["path"])
        for target in targets:
            sparsity, error = path.at(target)
            for projection, value in zip(block["projections"], sparsity.tolist(), strict=True):
                yield {
                    "group": group,
                    "target": target,
                    "block": block["block"],
                    "projection": projection,
                    "sparsity": value,
                    "predicted_error": error,
                }
