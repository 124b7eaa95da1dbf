"""export: thresholds, router and measured figures of one method -> the folder of its profile set, to take away."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pipeline.config.params import Settings
from pipeline.profiles.measured import measured
from pipeline.profiles.profile import profile_array
from pipeline.storage.schemas import ASSIGNMENTS, PROFILES, RESULTS
from stages.inputs import paths
from stages.inputs.model import load_model
from wina_amp.models import manifest
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED, NO_TRANSFORM
from wina_amp.profile_set.description import Checkpoint, Description, Group
from wina_amp.profile_set.identity import made_with, shapes_of, sketch
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.routing.router import load_router
from wina_amp.scoring.learned_weights import learned


def main(settings: Settings, name: str) -> None:
    """Write the profile set of method `name`.

    Raises:
        UserError: a table is out of date.
    """
    method = settings.methods[name]
    profile = settings.profiles[method.profile]
    targets = tuple(sorted(settings.evaluate.targets))
    table: Any = PROFILES.read(paths.profiles(method.profile))
    thresholds = np.stack([profile_array(table, target, "threshold") for target in targets])
    loaded = load_model(settings.model)
    is_routed = method.groups != "assigned"
    router, facts = load_router(paths.router_weights(method.groups)) if is_routed else (None, None)
    description = Description(
        name=name,
        criterion=profile.criterion,
        mask=method.mask,
        scheme=profile.scheme,
        allocation=profile.allocation,
        dense_prefix=settings.tokens.dense_prefix,
        targets=targets,
        groups=_groups(profile.scheme, thresholds.shape[1]),
        router=facts,
        model=_checkpoint(settings, loaded),
        calibration=settings.benchmark.calibration or settings.benchmark.tasks,
        evaluated=settings.benchmark.tasks,
        measured=measured(
            RESULTS.read(paths.results(name)),
            RESULTS.read(paths.results("dense")),
            targets,
            replicates=settings.report.bootstrap,
            confidence=settings.report.confidence,
            seed=settings.seed,
        ),
        confidence=settings.report.confidence,
        versions=made_with(),
        tensors="",
    )
    rotations = None if settings.model.transform == NO_TRANSFORM else paths.ROTATIONS
    weights = (
        {(projection.block, projection.name): learned(projection).cpu() for projection in projections(loaded.model)}
        if profile.criterion == LEARNED
        else None
    )
    profile_set = ProfileSet(
        description, torch.from_numpy(thresholds), sketch(loaded.model), router, weights, rotations
    )
    profile_set.save_pretrained(paths.profile_set(name))


def _groups(scheme: str, number: int) -> tuple[Group, ...]:
    rows: Any = ASSIGNMENTS.read(paths.assignments(scheme), columns=("split", "group"))
    sizes = rows[rows["split"] == "train"]["group"].value_counts()
    own = int(rows["group"].max()) + 1
    groups = [Group(f"group {group}", int(sizes.get(group, 0))) for group in range(min(own, number))]
    whole = Group("all samples", int(sizes.sum()))  # one profile for everyone: alone, or behind those of the groups
    return (whole,) if number == 1 else tuple(groups) if number == own else (*groups, whole)


def _checkpoint(settings: Settings, loaded: LoadedModel) -> Checkpoint:
    shapes, files = shapes_of(loaded.model), manifest.read(paths.MANIFEST)
    return Checkpoint(
        digest=files.digest,
        repository=files.repository,
        commit=files.commit,
        dtype=settings.model.dtype,
        transform=settings.model.transform,
        family=shapes.family,
        blocks=shapes.blocks,
        projections=shapes.projections,
    )
