"""evaluate: run every sample through lm-eval with the profile of its group, at every target -> results.

Each target is a part of its own, keyed by exactly what it depends on (its own profile, not the others'), and parts are
kept after success: adding a target computes only that one, and a crash costs one target at most.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from pipeline.config import DENSE, GATE_CRITERIA, Settings
from pipeline.errors import UserError, unknown
from pipeline.evaluate.method import Profiles, evaluate
from pipeline.profile import profile_array
from pipeline.schemas import ASSIGNMENTS, PROFILES, RESULTS, ROUTES, SAMPLES
from pipeline.scratch import Scratch, file_digest
from pipeline.sparse.masks import mask_kind
from stages.benchmark import load_benchmark
from stages.model import load_model, model_identity
from stages.run import run_named

SAMPLES_PATH = "data/samples.parquet"
PART = "results.parquet"
DENSE_TARGET = 0.0

log = logging.getLogger("stages.evaluate")


def main(settings: Settings, name: str) -> None:
    """Read `samples`, and for a sparse method its profiles and groups; write `results`."""
    if name not in settings.methods:
        raise unknown("method", name, settings.methods, "`methods` in params.yaml")
    samples = _samples(settings, name)
    profiles = _profiles(settings, name)
    with ExitStack() as stack:
        # All scratch folders are opened before the task files load code of their own: their digests cover loaded code.
        parts = {
            target: stack.enter_context(
                Scratch(f"evaluate@{name}", _fingerprint(settings, samples, target, profiles[target]))
            )
            for target in profiles
        }
        missing = {target: profiles[target] for target, part in parts.items() if not part.has(PART)}
        if len(missing) < len(parts):
            log.info("%d of %d targets are finished already", len(parts) - len(missing), len(parts))
        if missing:
            _evaluate(settings, name, samples, missing, parts)
        rows = [RESULTS.read(part.path(PART)) for part in parts.values()]
    RESULTS.write(pd.concat(rows, ignore_index=True), f"data/results/{name}.parquet")


def _evaluate(
    settings: Settings,
    name: str,
    samples: pd.DataFrame,
    profiles: Mapping[float, Profiles | None],
    parts: Mapping[float, Scratch],
) -> None:
    """Finish the parts of these targets."""
    loaded = load_model(settings.model)
    tasks = load_benchmark(settings.benchmark)
    requests = sum(max(len(choices), 1) for choices in samples["choices"])
    with tqdm(total=requests * len(profiles), desc=f"evaluate {name}", unit="request") as progress:
        for target, profile in profiles.items():
            rows = evaluate(
                loaded,
                [view for views in tasks.values() for view in views.values()],
                samples,
                profile,
                dense_prefix=settings.tokens.dense_prefix,
                batch_tokens=settings.tokens.batch,
                router_flops=samples["router_flops"].to_numpy(),
                advance=progress.update,
            )
            with parts[target].writing(PART) as path:
                RESULTS.write(rows.assign(method=name, target=target), path)


def _samples(settings: Settings, name: str) -> pd.DataFrame:
    """The samples of the evaluated splits, each with its `group` and the cost of finding it, `router_flops`."""
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


def _fingerprint(settings: Settings, samples: pd.DataFrame, target: float, profiles: Profiles | None) -> dict[str, Any]:
    return {
        "samples": file_digest(SAMPLES_PATH),
        "groups": hashlib.sha256(samples[["group", "router_flops"]].to_numpy().tobytes()).hexdigest(),
        "splits": settings.evaluate.splits,
        "tasks": asdict(settings.benchmark) | {"files": file_digest(settings.benchmark.include)},
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "target": target,
        "criterion": DENSE if profiles is None else profiles.criterion,
        "mask": None if profiles is None else profiles.mask,
        "values": None if profiles is None else hashlib.sha256(profiles.values.numpy().tobytes()).hexdigest(),
    }


if __name__ == "__main__":
    run_named(main)
