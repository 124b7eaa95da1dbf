"""evaluate: run every sample through lm-eval with the profile of its group, at every target -> results.

Each target and split is a part of its own, in a folder named by exactly what it depends on (its own profile, not the
others'), and parts are kept after success: adding a target computes only that one, and a crash costs the runs that were
on the way. They share the machine's cores, as far as there is memory for their models
(`pipeline/executors/processes.py`), and only the processes that run a model import what runs it.

Every method runs on the first samples of every task (`pipeline/evaluate/portions.py`). The primary methods run on the
other test samples, too, at the primary targets, and so does the dense model. Those are further parts beside that of
the split, so that a method becomes primary, or stops being so, without computing anything twice.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from pipeline.config.params import DENSE, GATE_CRITERIA, Settings, TokenSettings
from pipeline.evaluate.engine import Profiles
from pipeline.evaluate.portions import among_first
from pipeline.executors.processes import Advance, finish
from pipeline.profiles.profile import profile_array
from pipeline.storage.schemas import ASSIGNMENTS, PROFILES, RESULTS, ROUTES, SAMPLES
from pipeline.storage.scratch import Parts, Scratch, file_digest
from stages.inputs.model import load_model, model_identity, model_processes
from stages.run import run_named, start_logging
from wina_amp.errors import UserError, unknown
from wina_amp.masks.kinds import mask_kind

if TYPE_CHECKING:
    from pipeline.tasks.task_view import TaskView
    from wina_amp.models.load import LoadedModel

SAMPLES_PATH = "data/samples.parquet"
DENSE_TARGET = 0.0
MORE = "test-more"
"""Begins the names of the parts with the test samples beyond those that every method is evaluated on."""

MOST_MORE = 3000
"""Of those samples in a part: several parts of a target let processes end at about the same time."""

log = logging.getLogger("stages.evaluate")


@dataclass(frozen=True)
class Run:
    """One target on the samples of one part, as processes hand it to each other.

    Attributes:
        tokens: how prompts are masked and batched.
        method: its name.
        samples: those of the part.
        target: of the profiles.
        profiles: None runs the model dense.
        parts: where the result goes, as `part`.
    """

    tokens: TokenSettings
    method: str
    samples: pd.DataFrame
    target: float
    profiles: Profiles | None
    parts: Parts
    part: str


def main(settings: Settings, name: str) -> None:
    """Read `samples`, and for a sparse method its profiles and groups; write `results`."""
    if name not in settings.methods:
        raise unknown("method", name, settings.methods, "`methods` in params.yaml")
    samples = _samples(settings, name)
    with ExitStack() as stack:
        # All scratch folders are opened before the task files load code of their own, which would change their digests.
        runs = [
            Run(settings.tokens, name, one, target, profiles, parts, f"{part}.parquet")
            for target, profiles in _profiles(settings, name).items()
            for parts in [stack.enter_context(_scratch(settings, name, samples, target, profiles))]
            for part, one in _portions(settings, name, target, samples).items()
        ]
        missing = [run for run in runs if not run.parts.has(run.part)]
        if len(missing) < len(runs):
            log.info("%d of %d runs are finished already", len(runs) - len(missing), len(runs))
        requests = sum(_requests(run.samples) for run in missing)
        with tqdm(total=requests, desc=f"evaluate {name}", unit="request") as progress:
            largest_first = sorted(missing, key=lambda run: -len(run.samples))
            processes = model_processes(settings.model)
            make = partial(_open, settings)
            finish(_evaluate, largest_first, make=make, processes=processes, advance=progress.update)
        rows = [RESULTS.read(run.parts.path(run.part)) for run in runs]
    RESULTS.write(pd.concat(rows, ignore_index=True), f"data/results/{name}.parquet")


def _open(settings: Settings) -> tuple[LoadedModel, list[TaskView]]:
    """What a process evaluates with."""
    from stages.inputs.tasks import load_benchmark

    start_logging()
    views = [view for views in load_benchmark(settings.benchmark).values() for view in views.values()]
    return load_model(settings.model), views


def _evaluate(opened: tuple[LoadedModel, list[TaskView]], run: Run, advance: Advance) -> None:
    """Finish one part."""
    from pipeline.evaluate.method import evaluate

    rows = evaluate(
        *opened,
        run.samples,
        run.profiles,
        dense_prefix=run.tokens.dense_prefix,
        batch_tokens=run.tokens.batch,
        router_flops=run.samples["router_flops"].to_numpy(),
        advance=advance,
    )
    with run.parts.writing(run.part) as path:
        RESULTS.write(rows.assign(method=run.method, target=run.target), path)


def _requests(samples: pd.DataFrame) -> int:
    """What the model is asked: every choice, or one continuation."""
    return sum(max(len(choices), 1) for choices in samples["choices"])


def _samples(settings: Settings, name: str) -> pd.DataFrame:
    """All samples of the evaluated splits, each with its `group` and the cost of finding it, `router_flops`."""
    samples = SAMPLES.read(SAMPLES_PATH)
    samples = samples[samples["split"].isin(settings.evaluate.splits)].reset_index(drop=True)
    source = settings.methods[name].groups_from
    if source is None:
        return samples.assign(group=0, router_flops=0.0)
    path = f"data/{source}.parquet"
    if source.startswith("routes/"):
        groups = ROUTES.read(path, columns=("sample_id", "group", "flops")).rename(columns={"flops": "router_flops"})
    else:
        groups = ASSIGNMENTS.read(path, columns=("sample_id", "group")).assign(router_flops=0.0)
    joined = samples.merge(groups, on="sample_id", how="left", validate="one_to_one")
    lost: Any = joined.loc[joined["group"].isna(), "sample_id"].to_list()
    if lost:
        raise UserError(
            "Every sample must have a group",
            found=f"none for {len(lost)} samples, for example {lost[0]}",
            where=path,
            remedy="run `dvc repro`, which rebuilds the table",
        )
    return joined.astype({"group": np.int64})


def _portions(settings: Settings, name: str, target: float, samples: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Part -> its samples: of every split those that all methods have, and the other test samples where primary."""
    first = among_first(samples, _limits(settings))
    found: dict[str, Any] = {str(split): rows for split, rows in samples[first].groupby("split", sort=False)}
    more = samples[~first & (samples["split"] == "test").to_numpy()]
    if len(more) and _is_primary(settings, name, target):
        pieces = np.array_split(np.arange(len(more)), -(-len(more) // MOST_MORE))
        found |= {f"{MORE}-{number}-of-{len(pieces)}": more.iloc[rows] for number, rows in enumerate(pieces)}
    return found


def _limits(settings: Settings) -> dict[str, int | None]:
    """Samples per task of each split that every method is evaluated on: `evaluate.limits`, but its two settings stand
    here by name, because dvc.yaml lists those that a stage names (`tests/dvc/deps.py`)."""
    return {"train": settings.evaluate.train_samples, "test": settings.evaluate.test_samples}


def _is_primary(settings: Settings, name: str, target: float) -> bool:
    primary = settings.evaluate.primary
    if primary is None:
        return False
    return name == DENSE or (name in primary.methods and target in primary.targets)


def _profiles(settings: Settings, name: str) -> dict[float, Profiles | None]:
    """What masks the model at each target; the dense model has the target 0 only, a criterion that masks only a part of
    the weights those that its profile set reaches."""
    method = settings.methods[name]
    if method.profile is None or method.mask is None:
        return {DENSE_TARGET: None}
    table: Any = PROFILES.read(f"data/profiles/{method.profile}.parquet")
    criterion, column = settings.profiles[method.profile].criterion, mask_kind(method.mask).column
    targets = settings.evaluate.targets
    if criterion in GATE_CRITERIA:
        highest = float(table["target"].max())
        lost = [target for target in targets if target > highest]
        targets = [target for target in targets if target <= highest]
        if lost:
            log.warning("%s is not evaluated at %s: its profile set reaches %g", name, lost, highest)
    return {
        target: Profiles(criterion, torch.from_numpy(profile_array(table, target, column)), method.mask)
        for target in targets
    }


def _scratch(settings: Settings, name: str, samples: pd.DataFrame, target: float, profiles: Profiles | None) -> Scratch:
    fingerprint = {
        "samples": file_digest(SAMPLES_PATH),
        "groups": hashlib.sha256(samples[["group", "router_flops"]].to_numpy().tobytes()).hexdigest(),
        "splits": settings.evaluate.splits,
        "first": _limits(settings),
        "tasks": asdict(settings.benchmark) | {"files": file_digest(settings.benchmark.include)},
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "target": target,
        "criterion": DENSE if profiles is None else profiles.criterion,
        "mask": None if profiles is None else profiles.mask,
        "values": None if profiles is None else hashlib.sha256(profiles.values.numpy().tobytes()).hexdigest(),
    }
    return Scratch(f"evaluate@{name}", fingerprint)


if __name__ == "__main__":
    run_named(main)
