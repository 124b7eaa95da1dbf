"""evaluate: run every sample through lm-eval with the profile of its group, at every target -> results.

A portion of a split at a target is a part, in a folder named by exactly what it depends on (its own profile, not the
others'), and parts are kept after success: adding a target computes only that one, and a crash costs the parts that
were on the way. They are the tasks of a worker pool, and only the processes that run a model import what runs it.

Every method runs on the first samples of every task (`pipeline/evaluate/first_samples.py`). The primary methods run on
the other test samples, too, at the primary targets, and so does the dense model. Those are further parts beside that of
the split, so that a method becomes primary, or stops being so, without computing anything twice.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipeline.config.params import Settings
from pipeline.evaluate.first_samples import among_first
from pipeline.executors.pool import Advance
from pipeline.profiles.profile import Profiles, profile_array
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import PROFILES, RESULTS, SAMPLES
from pipeline.storage.scratch import array_digest
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.groups import groups_of
from stages.inputs.model import load_model
from stages.inputs.workers import run_tasks
from wina_amp.names import DENSE, GATE_CRITERIA, THRESHOLD

DENSE_TARGET = 0.0
MORE = "test-more"
"""Begins the names of the parts with the test samples beyond those that every method is evaluated on."""

PORTION = 256
"""Samples in a part, at most: with several parts of a target, processes end at about the same time."""

log = logging.getLogger("stages.evaluate")


@dataclass(frozen=True)
class Task:
    """One target on the samples of one part, and the part's place; without profiles the model runs dense."""

    method: str
    samples: pd.DataFrame
    target: float
    profiles: Profiles | None
    parts: Parts
    part: str


class Worker:
    """A process that evaluates: the model, and the tasks of the benchmark."""

    def __init__(self, settings: Settings) -> None:
        from stages.inputs.tasks import load_benchmark

        self.tokens = settings.tokens
        self.views = [view for views in load_benchmark(settings.benchmark).values() for view in views.values()]
        self.loaded = load_model(settings.model)


def main(settings: Settings, name: str) -> None:
    """Read `samples`, and for a sparse method its profiles and groups; write `results`."""
    samples = _samples(settings, name)
    fingerprint = Fingerprint(settings, DENSE) if name == DENSE else Fingerprint(settings, "evaluate", name)
    with ExitStack() as stack:
        tasks = [
            Task(name, portion, target, profiles, parts, f"{part}.parquet")
            for target, profiles in _profiles(settings, name).items()
            for parts in [stack.enter_context(_scratch(settings, fingerprint, samples, target, profiles))]
            for part, portion in _portions(settings, name, target, samples).items()
        ]
        missing = [task for task in tasks if not task.parts.has(task.part)]
        if len(missing) < len(tasks):
            log.info("%d of %d parts are finished already", len(tasks) - len(missing), len(tasks))
        largest_first = sorted(missing, key=lambda task: -len(task.samples))
        total, make_worker = sum(_requests(task.samples) for task in missing), partial(Worker, settings)
        run_tasks(make_worker, _evaluate, largest_first, fingerprint, f"evaluate {name}", "request", total)
        rows = [RESULTS.read(task.parts.path(task.part)) for task in tasks]
    RESULTS.write(pd.concat(rows, ignore_index=True), paths.results(name))


def _evaluate(worker: Worker, task: Task, advance: Advance) -> None:
    """Write one part."""
    from pipeline.evaluate.method import evaluate

    rows = evaluate(
        worker.loaded,
        worker.views,
        task.samples,
        task.profiles,
        dense_prefix=worker.tokens.dense_prefix,
        batch_tokens=worker.tokens.batch,
        router_flops=task.samples["router_flops"].to_numpy(),
        advance=advance,
    )
    task.parts.write(task.part, RESULTS.to_bytes(rows.assign(method=task.method, target=task.target)))


def _requests(samples: pd.DataFrame) -> int:
    """Requests to the model: one for every choice, or one continuation."""
    return sum(max(len(choices), 1) for choices in samples["choices"])


def _samples(settings: Settings, name: str) -> pd.DataFrame:
    """All samples of the evaluated splits, each with its `group` and the cost of finding it, `router_flops`."""
    samples = SAMPLES.read(paths.SAMPLES)
    samples = samples[samples["split"].isin(settings.evaluate.splits)].reset_index(drop=True)
    if name == DENSE:
        return samples.assign(group=0, router_flops=0.0)
    return pd.concat([samples, groups_of(samples, settings.methods[name].groups_from)], axis=1)


def _portions(settings: Settings, name: str, target: float, samples: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Part -> its samples: of every split those that all methods have, and the other test samples where primary."""
    first = among_first(samples, settings.evaluate.limits)
    whole: dict[str, Any] = {str(split): rows for split, rows in samples[first].groupby("split", sort=False)}
    if _is_primary(settings, name, target):
        whole[MORE] = samples[~first & (samples["split"] == "test").to_numpy()]
    portions: dict[str, pd.DataFrame] = {}
    for part, rows in whole.items():
        count = -(-len(rows) // PORTION)
        for number, chosen in enumerate(np.array_split(np.arange(len(rows)), count) if count else ()):
            portions[f"{part}-{number}-of-{count}"] = rows.iloc[chosen]
    return portions


def _is_primary(settings: Settings, name: str, target: float) -> bool:
    primary = settings.evaluate.primary
    if primary is None:
        return False
    return name == DENSE or (name in primary.methods and target in primary.targets)


def _profiles(settings: Settings, name: str) -> dict[float, Profiles | None]:
    """The profiles at each target, None without masks; the dense model has the target 0 only, a criterion that masks
    only a part of the weights those that its profile set reaches."""
    if name == DENSE:
        return {DENSE_TARGET: None}
    method = settings.methods[name]
    table: Any = PROFILES.read(paths.profiles(method.profile))
    criterion = settings.profiles[method.profile].criterion
    column = "threshold" if method.mask == THRESHOLD else "sparsity"
    targets = settings.evaluate.targets
    if criterion in GATE_CRITERIA:
        highest = float(table["target"].max())
        lost = [target for target in targets if target > highest]
        targets = [target for target in targets if target <= highest]
        if lost:
            log.warning("%s is not evaluated at %s: its profile set reaches %g", name, lost, highest)
    return {target: Profiles(criterion, profile_array(table, target, column), method.mask) for target in targets}


def _scratch(
    settings: Settings, fingerprint: Fingerprint, samples: pd.DataFrame, target: float, profiles: Profiles | None
) -> AbstractContextManager[Parts]:
    """The parts of one target: they depend on no other target, and on the splits and first samples that they hold."""
    if profiles is None:
        return fingerprint.scratch({"evaluate.primary": None})
    groups = samples[["group", "router_flops"]].to_numpy()
    return fingerprint.scratch(
        {
            "evaluate": {"splits": settings.evaluate.splits, "first": settings.evaluate.limits, "target": target},
            "methods.${key}": profiles.mask,
            "profiles.${item.profile}": profiles.criterion,
            "data/profiles/${item.profile}.parquet": array_digest(profiles.values),
            "data/${item.groups_from}.parquet": array_digest(groups),
        }
    )
