"""The `kl` allocations of stage allocate: of a group by itself, and of groups that start from a pooled allocation."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.allocation.cost import Cost, Meter, MeteredStore
from pipeline.config import ProfileSettings, Settings
from pipeline.histogram import Bins
from pipeline.schemas import ALLOCATIONS, GROUP_HISTOGRAMS
from pipeline.scratch import JsonParts, Scratch
from stages.allocation_inputs import ALLOCATIONS_PATH, GROUP_HISTOGRAMS_PATH, Costs, counts_of, fingerprint, group_texts
from stages.model import load_model

log = logging.getLogger("stages.allocate")


def alone(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Every group by itself: rows of `allocations` without the profile's name, and what each group took."""
    from pipeline.allocation.divergence import Divergence
    from pipeline.allocation.kl import kl, work
    from pipeline.allocation.slopes import Slopes

    allocate, targets = settings.allocate, settings.evaluate.targets
    known = histograms[histograms["criterion"] == profile.criterion]
    groups = sorted(set(known["group"].tolist()))
    rows: list[pd.DataFrame] = []
    costs: Costs = {}
    with Scratch(f"allocate@{name}", fingerprint(settings, profile)) as scratch, ExitStack() as hooks:
        loaded = load_model(settings.model)
        layers = attrgetter(loaded.family.layers)(loaded.model)
        meter = hooks.enter_context(Meter().watching(layers))
        for group in groups:
            counts = counts_of(known[known["group"] == group], Bins(settings.capture.mantissa_bits))
            texts = group_texts(settings, profile, group)
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


def from_pooled(settings: Settings, name: str, profile: ProfileSettings, histograms: Any) -> tuple[pd.DataFrame, Costs]:
    """Groups that start from a pooled allocation; one more group, the last, is the pooled allocation itself."""
    from pipeline.allocation.divergence import Divergence
    from pipeline.allocation.slopes import Slopes
    from pipeline.allocation.specialise import FOLDS, specialise, work

    allocate = settings.allocate
    groups = sorted(set(histograms["group"].tolist()))
    pooled_rows = ALLOCATIONS.read(ALLOCATIONS_PATH.format(name=profile.parent))
    pooled: Any = GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme="global"))
    counts = counts_of(pooled[pooled["criterion"] == profile.criterion], Bins(settings.capture.mantissa_bits))
    rows = [pooled_rows.drop(columns="profile").assign(group=len(groups), strength=0.0)]
    costs: Costs = {len(groups): Cost()}
    with Scratch(f"allocate@{name}", fingerprint(settings, profile)) as scratch, ExitStack() as hooks:
        loaded = load_model(settings.model)
        layers = attrgetter(loaded.family.layers)(loaded.model)
        meter = hooks.enter_context(Meter().watching(layers))
        for group in groups:
            texts = group_texts(settings, profile, group)
            options = _loss_options(settings, profile, meter)
            store = MeteredStore(JsonParts(scratch, f"{group:05d}-"), meter)
            folds = [Divergence(loaded, texts[first::FOLDS], counts, **options) for first in range(FOLDS)]
            slopes = Slopes(loaded, texts, counts, **options)
            total = work(len(settings.evaluate.targets), allocate.kl_group_steps)
            title = f"kl from `{profile.parent}`, group {group + 1} of {len(groups)}"
            with ExitStack() as running, slopes, tqdm(total=total, desc=title, unit="pass") as progress:
                for fold in folds:
                    running.enter_context(fold)
                found = specialise(
                    _by_target(pooled_rows, folds[0].places),
                    folds[0].costs,
                    [fold.losses for fold in folds],
                    partial(slopes.on_minibatches, size=allocate.kl_group_batch, seed=settings.seed),
                    store,
                    texts=len(texts),
                    steps=allocate.kl_group_steps,
                    rate=allocate.kl_group_rate,
                    advance=progress.update,
                )
            costs[group] = store.cost
            log.info("group %d of %d: strength %g", group + 1, len(groups), found[0].strength)
            for one in found:
                places = pd.DataFrame(folds[0].places, columns=["block", "projection"])
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
