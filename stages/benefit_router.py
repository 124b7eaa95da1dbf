"""gate: fit one benefit router on what a profile set's profiles bring to the train samples, and route every sample with
it.

The same is measured on as many test samples, for the report; no benefit router is fitted on those. Chunks of samples
share the machine's cores (`pipeline/executors/processes.py`), and finished ones are kept over interruptions.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import nn
from tqdm import tqdm

from pipeline.allocation.calibration.texts import seeded_order
from pipeline.compute.routing import neighbour_flops
from pipeline.config.params import Settings
from pipeline.executors.processes import Advance, finish
from pipeline.profiles.profile import profile_array
from pipeline.routing.benefit_router_fit import fit_benefit_router
from pipeline.routing.benefits import benefits, text_divergences
from pipeline.routing.held_out import ask_benefit_router, held_out
from pipeline.storage.schemas import ASSIGNMENTS, BENEFITS, HELD_OUT, PROFILES, ROUTES, SAMPLES
from pipeline.storage.scratch import Parts, Scratch, file_digest
from pipeline.tokens.samples import TokenizedSample, tokenized_samples
from stages.inputs.model import load_model, model_identity, model_processes
from stages.run import run_named, start_logging
from wina_amp.errors import UserError, unknown
from wina_amp.models.load import LoadedModel
from wina_amp.routing.router import BENEFIT, neighbour_features, save_router

SAMPLES_PATH = "data/samples.parquet"
ASSIGNMENTS_PATH = "data/assignments/{scheme}.parquet"
PROFILES_PATH = "data/profiles/{name}.parquet"
ROUTES_PATH = "data/routes/{name}.parquet"
ROUTER_PATH = "data/routes/{name}.safetensors"
HELD_OUT_PATH = "data/routes/{name}.held_out.parquet"
BENEFITS_PATH = "data/routes/{name}.benefits.parquet"

CHUNK = 256
"""Texts that are measured together."""

_COLUMNS = ("sample_id", "split", "task", "template", "prompt_ids", "answer_ids", "n_tokens")


def main(settings: Settings, name: str) -> None:
    """Write the weights of benefit router `name`, its `routes`, `held_out` and `benefits`.

    Raises:
        UserError: unknown benefit router; the profile set has no pooled profile behind those of its groups.
    """
    if name not in settings.route.benefit_routers:
        raise unknown("benefit router", name, settings.route.benefit_routers, "`route.benefit_routers` in params.yaml")
    profile = settings.route.benefit_routers[name]
    thresholds = _thresholds(settings, profile)
    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=_COLUMNS)
    measured = _measured(settings, samples)
    brought = np.full((len(samples), thresholds.shape[1] - 1), np.nan)
    brought[measured] = _benefits(settings, name, thresholds, samples.iloc[measured])
    loaded = load_model(settings.model)
    table = cast(nn.Embedding, loaded.model.get_input_embeddings()).weight
    inputs = neighbour_features(table, samples["prompt_ids"].tolist())
    train = (samples["split"] == "train").to_numpy()
    gate = fit_benefit_router(inputs[train], brought[train], settings.seed)
    found = gate.router.probabilities(inputs)
    flops = neighbour_flops(samples["n_tokens"].to_numpy(), table.shape[1], found.shape[1])
    rows = pd.DataFrame({"router": name, "sample_id": samples["sample_id"], "group": found.argmax(axis=1)})
    ROUTES.write(rows.assign(probabilities=list(found), flops=flops), ROUTES_PATH.format(name=name))
    HELD_OUT.write(
        held_out(samples, ask_benefit_router(inputs, brought, seed=settings.seed)), HELD_OUT_PATH.format(name=name)
    )
    known = samples.iloc[measured][["sample_id", "split"]].assign(benefits=list(brought[measured]))
    BENEFITS.write(known, BENEFITS_PATH.format(name=name))
    facts = {"router": BENEFIT, "profile": profile, "penalty": f"{gate.penalty:g}", "margin": f"{gate.margin:g}"}
    save_router(gate.router, ROUTER_PATH.format(name=name), facts)


def _thresholds(settings: Settings, profile: str) -> ndarray:
    """`[targets, groups and pooled, blocks, masks]`."""
    path = PROFILES_PATH.format(name=profile)
    table: Any = PROFILES.read(path)
    found = np.stack([profile_array(table, target, "threshold") for target in settings.route.benefit_targets])
    scheme = settings.profiles[profile].scheme
    assignments: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme=scheme), columns=("group",))
    groups = int(assignments["group"].max()) + 1
    if found.shape[1] != groups + 1:
        raise UserError(
            "A benefit router needs a profile set whose last group is the pooled profile, which it abstains to",
            found=f"{found.shape[1]} profiles for the {groups} groups of `{scheme}`",
            where=path,
            remedy="name a profile set in `route.benefit_routers` whose allocation starts from the pooled one",
        )
    return found


def _measured(settings: Settings, samples: Any) -> ndarray:
    """Positions of all train samples and of as many test samples, drawn by the seed, in the table's order."""
    train, test = (samples[samples["split"] == split] for split in ("train", "test"))
    drawn = {text.sample_id for text in seeded_order(tokenized_samples(test), settings.seed)[: len(train)]}
    return np.flatnonzero((samples["split"] == "train") | samples["sample_id"].isin(drawn))


@dataclass(frozen=True)
class Work:
    """What processes need to measure divergences; can be pickled.

    Attributes:
        settings: all of them.
        criterion: of the profiles.
        thresholds: `[targets * profiles, blocks, masks]`.
        parts: where divergences go, `[targets * profiles, texts]` for every chunk of texts.
    """

    settings: Settings
    criterion: str
    thresholds: ndarray
    parts: Parts


def _benefits(settings: Settings, name: str, thresholds: ndarray, samples: Any) -> ndarray:
    """Of every group for every sample. Chunks of samples are independent of each other and kept one by one."""
    texts, profile = tokenized_samples(samples), settings.route.benefit_routers[name]
    flat = thresholds.reshape(-1, *thresholds.shape[2:])
    chunks = [(f"{first:06d}.npy", texts[first : first + CHUNK]) for first in range(0, len(texts), CHUNK)]
    fingerprint = {
        "samples": file_digest(SAMPLES_PATH),
        "measured": [text.sample_id for text in texts],
        "thresholds": hashlib.sha256(flat.tobytes()).hexdigest(),
        "criterion": settings.profiles[profile].criterion,
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "chunk": CHUNK,
    }
    with Scratch(f"benefit_router@{name}", fingerprint) as parts:
        missing = [chunk for chunk in chunks if not parts.has(chunk[0])]
        with tqdm(
            total=sum(len(chunk) for _, chunk in missing), desc=f"benefits of {profile}", unit="text"
        ) as progress:
            finish(
                _diverge,
                missing,
                make=partial(_open, Work(settings, settings.profiles[profile].criterion, flat, parts)),
                processes=model_processes(settings.model),
                advance=progress.update,
            )
        divergence = np.concatenate([np.load(parts.path(part)) for part, _ in chunks], axis=1)
    return benefits(divergence.reshape(*thresholds.shape[:2], -1))


def _open(work: Work) -> tuple[LoadedModel, Work]:
    start_logging()
    return load_model(work.settings.model), work


def _diverge(opened: tuple[LoadedModel, Work], chunk: tuple[str, list[TokenizedSample]], advance: Advance) -> None:
    """Finish the part of one chunk."""
    (loaded, work), (part, texts) = opened, chunk
    found = text_divergences(
        loaded,
        texts,
        torch.from_numpy(work.thresholds),
        criterion=work.criterion,
        dense_prefix=work.settings.tokens.dense_prefix,
        budget=work.settings.tokens.batch,
        advance=advance,
    )
    with work.parts.writing(part) as path, path.open("wb") as file:
        np.save(file, found)


if __name__ == "__main__":
    run_named(main)
