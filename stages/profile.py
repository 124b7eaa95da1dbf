"""profile: allocation, text and the model -> the threshold of every projection, for one profile set.

Thresholds are those of the model as it runs (`wina_amp/thresholds/as_run.py`): every group's, at every target, from one
masked pass over its own train text, which is a part that survives a crash. So every group meets its target on its own
text, also one whose allocation has shrunk to the pooled one: its sparsities are then pooled, its thresholds its own.
The last group of a set that starts from a pooled one has no samples; it is the pooled profile, from the pooled text.

`calibration: dense` reads them off the group histograms instead, without a model.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.executors.pool import Advance
from pipeline.profiles.profile import profile_array, profiles, with_thresholds
from pipeline.storage.parts import JsonParts
from pipeline.storage.schemas import ALLOCATIONS, GROUP_HISTOGRAMS, PROFILES
from pipeline.storage.scratch import array_digest
from stages.inputs import paths
from stages.inputs.allocation import group_texts
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import run_tasks
from wina_amp.histograms.bins import Bins
from wina_amp.names import DENSE, GLOBAL, POOLED
from wina_amp.tokens.samples import TokenizedSample, read_up_to

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel

Task = tuple[int, Any]
"""A group, and the sparsity of every mask of every block."""


def main(settings: Settings, name: str) -> None:
    """Read the `allocations` of profile set `name`, write its `profiles`."""
    allocations = ALLOCATIONS.read(paths.allocations(name))
    calibrate = _dense if settings.profiles[name].calibration == DENSE else _as_run
    PROFILES.write(calibrate(settings, name, allocations), paths.profiles(name))


def _dense(settings: Settings, name: str, allocations: pd.DataFrame) -> pd.DataFrame:
    """Groups that start from a pooled allocation read the pooled histograms, on which their search measured them.

    Those that take pooled sparsities as they are differ in just their thresholds.
    """
    profile = settings.profiles[name]
    is_pooled = profile.parent is not None and profile.allocation != POOLED
    return profiles(
        allocations,
        GROUP_HISTOGRAMS.read(paths.group_histograms(GLOBAL if is_pooled else profile.scheme)),
        criterion=profile.criterion,
        bins=Bins(settings.capture.mantissa_bits),
        is_pooled=is_pooled,
    )


def _as_run(settings: Settings, name: str, allocations: pd.DataFrame) -> pd.DataFrame:
    targets = sorted(set(allocations["target"].tolist()))
    sparsities = {target: profile_array(allocations, target, "sparsity") for target in targets}
    tasks: list[Task] = [(group, array) for arrays in sparsities.values() for group, array in enumerate(arrays)]
    # Parts are named by their allocation: another target computes only its own.
    fingerprint = Fingerprint(settings, "profile", name)
    with fingerprint.scratch({"data/allocations/${key}.parquet": None}) as parts:
        store = JsonParts(parts)
        missing = [task for task in tasks if store.get(_part(task)) is None]
        calibrate = partial(_calibrate, settings, name, store)
        load = partial(load_model, settings.model)
        run_tasks(load, calibrate, missing, fingerprint, f"thresholds of {name}", "group")
        limits = {
            target: np.array([store.get(_part(task)) for task in enumerate(arrays)], dtype=np.float32)
            for target, arrays in sparsities.items()
        }
    return with_thresholds(allocations, limits)


def _calibrate(
    settings: Settings, name: str, store: JsonParts, loaded: LoadedModel, task: Task, advance: Advance
) -> None:
    """Keep the thresholds of one group at one target."""
    from wina_amp.thresholds.as_run import thresholds_as_run

    (group, sparsity), profile = task, settings.profiles[name]
    limits = thresholds_as_run(
        loaded,
        _texts(settings, profile.scheme, group),
        sparsity,
        criterion=profile.criterion,
        dense_prefix=settings.tokens.dense_prefix,
        budget=settings.tokens.batch,
    )
    store.put(_part(task), limits.tolist())
    advance(1)


def _texts(settings: Settings, scheme: str, group: int) -> list[TokenizedSample]:
    """Train text of the group, as far as `thresholds.tokens` reach; of all samples for the pooled group of a set."""
    own = group_texts(scheme, group, settings.seed) or group_texts(GLOBAL, 0, settings.seed)
    return read_up_to(own, settings.thresholds.tokens)


def _part(task: Task) -> str:
    group, sparsity = task
    return f"{group:05d}-{array_digest(sparsity)[:16]}"
