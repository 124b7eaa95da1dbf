"""allocate: group histograms (for `greedy` and `kl` also text and the model) -> the sparsity of every projection,
and what it took to find it.

Torch and the model are only loaded by allocators that run the model; for shapes its config.json is enough. Greedy paths
are kept per group and do not depend on the targets, so a crash loses at most one group and a new target below the
highest costs nothing. `kl` keeps every curve and every tenth step of its descents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.aggregate import dense_counts
from pipeline.allocation.cost import Cost, Meter, MeteredStore
from pipeline.allocation.greedy import Path as GreedyPath
from pipeline.allocation.uniform import uniform
from pipeline.config import GATE_CRITERIA, ProfileSettings, Settings
from pipeline.errors import UserError
from pipeline.histogram import Bins
from pipeline.schemas import ALLOCATION_COSTS, ALLOCATIONS, ASSIGNMENTS, GROUP_HISTOGRAMS, SAMPLES
from pipeline.scratch import JsonParts, Scratch, file_digest
from stages.model import load_model, model_identity
from stages.run import run_named

if TYPE_CHECKING:
    from pipeline.allocation.blockwise import BlockPath
    from pipeline.allocation.calibration import Text
    from pipeline.models.load import LoadedModel

SAMPLES_PATH = "data/samples.parquet"
ASSIGNMENTS_PATH = "data/assignments/{scheme}.parquet"
GROUP_HISTOGRAMS_PATH = "data/group_histograms/{scheme}.parquet"
ALLOCATIONS_PATH = "data/allocations/{name}.parquet"
ALLOCATION_COSTS_PATH = "data/allocation_costs/{name}.parquet"

Costs = dict[int, Cost]
"""What the allocation of every group took."""

log = logging.getLogger("stages.allocate")


def main(settings: Settings, name: str) -> None:
    """Write the `allocations` and the `allocation_costs` of profile set `name`."""
    profile = settings.profiles[name]
    histograms = GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme=profile.scheme))
    costs: Costs
    if profile.allocation == "uniform":
        rows = _uniform(settings, name, profile, histograms)
        costs = {group: Cost() for group in set(rows["group"].tolist())}
    else:
        search = _greedy if profile.allocation == "greedy" else _kl if profile.parent is None else _specialised
        rows, costs = search(settings, name, profile, histograms)
    if "strength" not in rows:
        rows = rows.assign(strength=np.nan)
    ALLOCATIONS.write(rows.assign(profile=name), ALLOCATIONS_PATH.format(name=name))
    spent = [{"profile": name, "group": group, **cost.to_json()} for group, cost in costs.items()]
    ALLOCATION_COSTS.write(pd.DataFrame(spent), ALLOCATION_COSTS_PATH.format(name=name))


def _uniform(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> pd.DataFrame:
    """The targets that the criterion's masks can reach; those that they cannot are left out, and the log says so."""
    targets, share = settings.evaluate.targets, _share(settings, profile.criterion)
    reachable = [target for target in targets if target <= share]
    if not reachable:
        raise UserError(
            f"A target must be at most {share:.3f}, the share of the weights that `{profile.criterion}` can mask",
            found=", ".join(f"{target:g}" for target in targets),
            where="`evaluate.targets` in params.yaml",
            remedy=f"add a lower target, or give `profiles.{name}` another criterion",
        )
    if len(reachable) < len(targets):
        lost = ", ".join(f"{target:g}" for target in targets if target > share)
        log.warning("`%s` can mask %.3f of the weights: no allocation at %s", profile.criterion, share, lost)
    return uniform(histograms[histograms["criterion"] == profile.criterion], reachable, name, share)


def _share(settings: Settings, criterion: str) -> float:
    """The share of all projections' weights that the criterion's masks gate."""
    if criterion not in GATE_CRITERIA:
        return 1.0
    from pipeline.models.places import maskable_share, places
    from pipeline.models.projections import projections
    from pipeline.models.skeleton import skeleton
    from pipeline.scoring import criterion_row

    model = skeleton(settings.model.path, settings.model.revision)
    return maskable_share(places(model, criterion_row(criterion).reads), projections(model))


def _greedy(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    from pipeline.allocation.blockwise import block_paths

    known = histograms[histograms["criterion"] == profile.criterion]
    groups = sorted(set(known["group"].tolist()))
    loaded: LoadedModel | None = None
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    meter = Meter()
    with Scratch(f"allocate@{name}", _fingerprint(settings, profile)) as scratch:
        for group in groups:
            part = f"{group:05d}"
            store = MeteredStore(JsonParts(scratch, ""), meter)
            kept = store.get(part)
            if kept is None:
                loaded = loaded or load_model(settings.model)
                store.leave_out()
                log.info("greedy: group %d of %d", group + 1, len(groups))
                paths = block_paths(
                    loaded,
                    _texts(settings, profile, group),
                    _counts(known[known["group"] == group], Bins(settings.capture.mantissa_bits)),
                    bins=Bins(settings.capture.mantissa_bits),
                    criterion=profile.criterion,
                    stop=max(settings.evaluate.targets),
                    step=settings.allocate.greedy_step,
                    dense_prefix=settings.tokens.dense_prefix,
                    budget=settings.tokens.batch,
                    meter=meter,
                )
                kept = [_to_json(path) for path in paths]
                store.put(part, kept)
            rows.append(pd.DataFrame(_rows(kept, group, settings.evaluate.targets)))
            costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def _kl(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    from pipeline.allocation.divergence import Divergence
    from pipeline.allocation.kl import kl, work
    from pipeline.allocation.slopes import Slopes

    allocate, targets = settings.allocate, settings.evaluate.targets
    known = histograms[histograms["criterion"] == profile.criterion]
    groups = sorted(set(known["group"].tolist()))
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    with Scratch(f"allocate@{name}", _fingerprint(settings, profile)) as scratch, ExitStack() as hooks:
        loaded = load_model(settings.model)
        layers = attrgetter(loaded.family.layers)(loaded.model)
        meter = hooks.enter_context(Meter().watching(layers))
        for group in groups:
            counts = _counts(known[known["group"] == group], Bins(settings.capture.mantissa_bits))
            texts = _all_texts(settings, profile, group)
            options = _loss_options(settings, profile, meter)
            store = MeteredStore(JsonParts(scratch, f"{group:05d}-"), meter)
            objective = Divergence(loaded, texts[: allocate.kl_samples], counts, **options)
            slopes = Slopes(loaded, texts, counts, **options)
            total = work(len(counts), len(targets), allocate.kl_steps)
            title = f"kl, group {group + 1} of {len(groups)}"
            with objective, slopes, tqdm(total=total, desc=title, unit="pass") as progress:
                found = kl(
                    objective,
                    slopes.on_minibatches(range(len(texts)), allocate.kl_batch, settings.seed),
                    targets,
                    store,
                    steps=allocate.kl_steps,
                    rate=allocate.kl_rate,
                    advance=progress.update,
                )
                for one in found:
                    places = pd.DataFrame(objective.places, columns=["block", "projection"])
                    allocated = places.assign(sparsity=one.sparsity, predicted_error=one.loss)
                    rows.append(allocated.assign(group=group, target=one.target))
            costs[group] = store.cost
    return pd.concat(rows, ignore_index=True), costs


def _specialised(
    settings: Settings, name: str, profile: ProfileSettings, histograms: Any
) -> tuple[pd.DataFrame, Costs]:
    """Groups that start from a pooled allocation; one more group, the last, is the pooled allocation itself."""
    from pipeline.allocation.divergence import Divergence
    from pipeline.allocation.slopes import Slopes
    from pipeline.allocation.specialise import specialise, work

    allocate = settings.allocate
    groups = sorted(set(histograms["group"].tolist()))
    pooled_rows = ALLOCATIONS.read(ALLOCATIONS_PATH.format(name=profile.parent))
    pooled: Any = GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme="global"))
    counts = _counts(pooled[pooled["criterion"] == profile.criterion], Bins(settings.capture.mantissa_bits))
    rows = [pooled_rows.drop(columns="profile").assign(group=len(groups), strength=0.0)]
    costs: Costs = {len(groups): Cost()}
    with Scratch(f"allocate@{name}", _fingerprint(settings, profile)) as scratch, ExitStack() as hooks:
        loaded = load_model(settings.model)
        layers = attrgetter(loaded.family.layers)(loaded.model)
        meter = hooks.enter_context(Meter().watching(layers))
        for group in groups:
            texts = _all_texts(settings, profile, group)
            options = _loss_options(settings, profile, meter)
            store = MeteredStore(JsonParts(scratch, f"{group:05d}-"), meter)
            objective = Divergence(loaded, texts, counts, **options)
            slopes = Slopes(loaded, texts, counts, **options)
            total = work(len(settings.evaluate.targets), allocate.kl_group_steps)
            title = f"kl from `{profile.parent}`, group {group + 1} of {len(groups)}"
            with objective, slopes, tqdm(total=total, desc=title, unit="pass") as progress:
                found = specialise(
                    _by_target(pooled_rows, objective.places),
                    objective.costs,
                    len(texts),
                    objective.losses,
                    partial(slopes.on_minibatches, size=allocate.kl_group_batch, seed=settings.seed),
                    store,
                    steps=allocate.kl_group_steps,
                    rate=allocate.kl_group_rate,
                    advance=progress.update,
                )
            costs[group] = store.cost
            log.info("group %d of %d: strength %g", group + 1, len(groups), found[0].strength)
            for one in found:
                places = pd.DataFrame(objective.places, columns=["block", "projection"])
                allocated = places.assign(sparsity=one.sparsity, predicted_error=one.loss, strength=one.strength)
                rows.append(allocated.assign(group=group, target=one.target))
    return pd.concat(rows, ignore_index=True), costs


def _loss_options(settings: Settings, profile: ProfileSettings, meter: Meter) -> dict[str, Any]:
    return {
        "bins": Bins(settings.capture.mantissa_bits),
        "criterion": profile.criterion,
        "dense_prefix": settings.tokens.dense_prefix,
        "budget": settings.tokens.batch,
        "meter": meter,
    }


def _by_target(pooled: pd.DataFrame, places: list[tuple[int, str]]) -> dict[float, np.ndarray]:
    """target -> sparsity of every projection, in the order of `places`."""
    found: Any = pooled.set_index(["target", "block", "projection"])["sparsity"]
    return {target: found[target].loc[places].to_numpy() for target in sorted(set(pooled["target"]))}


def _fingerprint(settings: Settings, profile: ProfileSettings) -> dict[str, Any]:
    return {
        "samples": file_digest(SAMPLES_PATH),
        "assignments": file_digest(ASSIGNMENTS_PATH.format(scheme=profile.scheme)),
        "histograms": file_digest(GROUP_HISTOGRAMS_PATH.format(scheme=profile.scheme)),
        "start": file_digest(f"data/{profile.starts_from}.parquet"),
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "allocate": asdict(settings.allocate),
        "mantissa_bits": settings.capture.mantissa_bits,
        "criterion": profile.criterion,
        "stop": max(settings.evaluate.targets),
        "seed": settings.seed,
    }


def _texts(settings: Settings, profile: ProfileSettings, group: int) -> list[Text]:
    """As much text of the group as `greedy` measures on."""
    from pipeline.allocation.calibration import choose

    return choose(
        _all_texts(settings, profile, group),
        tokens=settings.allocate.greedy_tokens,
        dense_prefix=settings.tokens.dense_prefix,
        seed=settings.seed,
    )


def _all_texts(settings: Settings, profile: ProfileSettings, group: int) -> list[Text]:
    """The group's train samples in seeded order."""
    from pipeline.allocation.calibration import Text, seeded_order

    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    assignments: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme=profile.scheme))
    members = set(assignments["sample_id"][(assignments["group"] == group) & (assignments["split"] == "train")])
    texts = [
        Text(row.sample_id, row.prompt_ids.tolist(), row.answer_ids.tolist())
        for row in samples.itertuples()
        if row.sample_id in members
    ]
    return seeded_order(texts, settings.seed)


def _counts(rows: Any, bins: Bins) -> dict[tuple[int, str], np.ndarray]:
    keys = zip(rows["block"].tolist(), rows["projection"].tolist(), strict=True)
    return dict(zip(keys, dense_counts(rows, bins), strict=True))


def _to_json(found: BlockPath) -> dict[str, Any]:
    return {"block": found.block, "projections": found.projections, "path": found.path.to_lists()}


def _rows(paths: list[dict[str, Any]], group: int, targets: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    for one in paths:
        path = GreedyPath.from_lists(one["path"])
        for target in targets:
            sparsity, error = path.at(target)
            for projection, value in zip(one["projections"], sparsity.tolist(), strict=True):
                yield {
                    "group": group,
                    "target": target,
                    "block": one["block"],
                    "projection": projection,
                    "sparsity": value,
                    "predicted_error": error,
                }


if __name__ == "__main__":
    run_named(main)
