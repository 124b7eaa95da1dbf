"""benefit_router: measure the benefit of a profile set's profiles for the train samples -> a fitted benefit router, and
the route of every sample.

The same is measured on as many test samples, for the report; no benefit router is fitted on those. Chunks of samples
are the tasks of a worker pool, and finished ones are kept over interruptions.
"""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import nn

from pipeline.compute.routing import neighbour_flops
from pipeline.config.inputs import TokenSettings
from pipeline.config.params import Settings
from pipeline.executors.pool import Advance
from pipeline.profiles.profile import profile_array
from pipeline.routing.benefit_router_fit import fit_benefit_router
from pipeline.routing.benefits import benefits, text_divergences
from pipeline.routing.held_out import ask_benefit_router, held_out
from pipeline.storage.parts import Parts, npy_bytes
from pipeline.storage.schemas import BENEFITS, HELD_OUT, PROFILES, ROUTES, SAMPLES
from pipeline.storage.scratch import array_digest
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import run_tasks
from wina_amp.allocation.calibration.texts import seeded_order
from wina_amp.models.load import LoadedModel
from wina_amp.names import BENEFIT
from wina_amp.routing.router import neighbour_features, save_router
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

CHUNK = 256
"""Texts that are measured together."""

_COLUMNS = ("sample_id", "split", "task", "template", "prompt_ids", "answer_ids", "n_tokens")


def main(settings: Settings, name: str) -> None:
    """Write the weights of benefit router `name`, its `routes`, `held_out` and `benefits`."""
    profile = settings.route.benefit_routers[name]
    thresholds = _thresholds(settings, profile)
    samples: Any = SAMPLES.read(paths.SAMPLES, columns=_COLUMNS)
    measured = _measured(settings, samples)
    measured_benefits = np.full((len(samples), thresholds.shape[1] - 1), np.nan)
    measured_benefits[measured] = _benefits(settings, name, thresholds, samples.iloc[measured])
    loaded = load_model(settings.model)
    table = cast(nn.Embedding, loaded.model.get_input_embeddings()).weight
    inputs = neighbour_features(table, samples["prompt_ids"].tolist())
    train = (samples["split"] == "train").to_numpy()
    fitted = fit_benefit_router(inputs[train], measured_benefits[train], settings.seed)
    probabilities = fitted.router.probabilities(inputs)
    flops = neighbour_flops(samples["n_tokens"].to_numpy(), table.shape[1], probabilities.shape[1])
    rows = pd.DataFrame({"router": name, "sample_id": samples["sample_id"], "group": probabilities.argmax(axis=1)})
    ROUTES.write(rows.assign(probabilities=list(probabilities), flops=flops), paths.routes(name))
    ask = ask_benefit_router(inputs, measured_benefits, seed=settings.seed)
    HELD_OUT.write(held_out(samples, ask), paths.held_out(name))
    rows = samples.iloc[measured][["sample_id", "split"]].assign(benefits=list(measured_benefits[measured]))
    BENEFITS.write(rows, paths.benefits(name))
    facts = {"router": BENEFIT, "profile": profile, "penalty": f"{fitted.penalty:g}", "margin": f"{fitted.margin:g}"}
    save_router(fitted.router, paths.router_weights(name), facts)


def _thresholds(settings: Settings, profile: str) -> ndarray:
    """`[targets, groups and pooled, blocks, masks]`: settings have been refused unless the last profile is the pooled
    one (`pipeline/config/consistency.py`)."""
    table: Any = PROFILES.read(paths.profiles(profile))
    return np.stack([profile_array(table, target, "threshold") for target in settings.route.benefit_targets])


def _measured(settings: Settings, samples: Any) -> ndarray:
    """Positions of all train samples and of as many test samples, drawn by the seed, in the table's order."""
    train, test = (samples[samples["split"] == split] for split in ("train", "test"))
    drawn = {text.sample_id for text in seeded_order(tokenized_samples(test), settings.seed)[: len(train)]}
    return np.flatnonzero((samples["split"] == "train") | samples["sample_id"].isin(drawn))


def _benefits(settings: Settings, name: str, thresholds: ndarray, samples: Any) -> ndarray:
    """Of every group for every sample. Chunks of samples are independent of each other and kept one by one."""
    texts, profile = tokenized_samples(samples), settings.route.benefit_routers[name]
    criterion = settings.profiles[profile].criterion
    flat = thresholds.reshape(-1, *thresholds.shape[2:])
    chunks = [(first, texts[first : first + CHUNK]) for first in range(0, len(texts), CHUNK)]
    by_part = {f"{first:06d}-{len(chunk)}.npy": chunk for first, chunk in chunks}
    fingerprint = Fingerprint(settings, "benefit_router", name)
    with fingerprint.scratch(
        {
            "seed": [text.sample_id for text in texts],
            "route.benefit_targets": None,
            "data/profiles/${item}.parquet": array_digest(flat),
        }
    ) as parts:
        missing = [(part, chunk) for part, chunk in by_part.items() if not parts.has(part)]
        measure = partial(_write_divergences, settings.tokens, criterion, flat, parts)
        load, total = partial(load_model, settings.model), sum(len(chunk) for _, chunk in missing)
        run_tasks(load, measure, missing, fingerprint, f"benefits of {profile}", "text", total)
        divergence = np.concatenate([np.load(parts.path(part)) for part in by_part], axis=1)
    return benefits(divergence.reshape(*thresholds.shape[:2], -1))


def _write_divergences(
    tokens: TokenSettings,
    criterion: str,
    thresholds: ndarray,
    parts: Parts,
    loaded: LoadedModel,
    task: tuple[str, list[TokenizedSample]],
    advance: Advance,
) -> None:
    """Write a part: divergences of its texts, `[targets * profiles, texts]`."""
    part, texts = task
    divergences = text_divergences(
        loaded,
        texts,
        torch.from_numpy(thresholds),
        criterion=criterion,
        dense_prefix=tokens.dense_prefix,
        budget=tokens.batch,
        advance=advance,
    )
    parts.write(part, npy_bytes(divergences))
