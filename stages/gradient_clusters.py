"""gradient_clusters: what single texts would change in a pooled `kl` allocation -> assignments of the scheme
`gradient`, random groups of the same sizes, and how much first-order gain every number of groups and every other scheme
has.

Chunks of texts share the machine's cores (`pipeline/executors/processes.py`), and finished ones are kept over
interruptions.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy import ndarray
from tqdm import tqdm

from pipeline.allocation.loss.gradients import LossGradients
from pipeline.allocation.loss.loss_inputs import LossInputs
from pipeline.config.params import Settings
from pipeline.executors.processes import Advance, finish
from pipeline.grouping.clustering import features
from pipeline.grouping.gradient_clusters import GradientGroups, allocation_gradients, gradient_groups, held_out_gain
from pipeline.grouping.schemes import GRADIENT, GRADIENT_RANDOM_SCHEMES, LABEL_SCHEMES, label_groups, shuffled_groups
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.histograms.bins import Bins
from pipeline.storage.schemas import ALLOCATIONS, ASSIGNMENTS, GROUP_HISTOGRAMS, SAMPLES, SIGNATURES
from pipeline.storage.scratch import Parts, Scratch, file_digest
from pipeline.tokens.samples import TokenizedSample, tokenized_samples
from stages.inputs.allocation import ALLOCATIONS_PATH, GROUP_HISTOGRAMS_PATH, counts_of
from stages.inputs.model import load_model, model_identity, model_processes
from stages.run import run_named, start_logging
from wina_amp.atomic import replacing
from wina_amp.errors import UserError, unknown
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections

SAMPLES_PATH = "data/samples.parquet"
SIGNATURES_PATH = "data/signatures.parquet"
ASSIGNMENTS_PATH = "data/assignments/{scheme}.parquet"
QUALITY_PATH = "data/assignments/gradient.json"

CHUNK = 128
"""Texts whose gradients are taken together."""

SMALLEST_SHARE = 2
"""Train samples that a group must have on average, at least."""

_COLUMNS = ("sample_id", "split", "prompt_ids", "answer_ids", *LABEL_SCHEMES)


def main(settings: Settings, name: str) -> None:
    """Write the assignments of scheme `name`, of random groups of its sizes, and the quality JSON.

    Raises:
        UserError: the scheme is not in `gradient.schemes`; more groups than the train samples allow.
    """
    if name not in settings.gradient.schemes:
        raise unknown("scheme", name, settings.gradient.schemes, "`gradient.schemes` in params.yaml")
    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=_COLUMNS)
    train = (samples["split"] == "train").to_numpy()
    _check_counts(settings, int(train.sum()))
    points = _points(settings, samples["sample_id"].tolist(), train)
    gradients = _allocation_gradients(settings, settings.gradient.schemes[name], samples[train])
    found = gradient_groups(points, train, gradients, settings.gradient.counts, settings.seed)
    _write(samples, GRADIENT, found.groups, found.distances)
    for draw, scheme in enumerate(GRADIENT_RANDOM_SCHEMES):
        _write(samples, scheme, shuffled_groups(found.groups, train, settings.seed, draw), np.zeros(len(samples)))
    _write_quality(found, _gains_of_schemes(samples, train, gradients, settings.seed), train)


def _check_counts(settings: Settings, train: int) -> None:
    most = max(settings.gradient.counts)
    if most * SMALLEST_SHARE > train:
        raise UserError(
            f"`gradient.counts` must leave {SMALLEST_SHARE} train samples or more to a group",
            found=f"{most} groups for {train} train samples",
            where="`gradient.counts` in params.yaml",
            remedy="lower the largest count or raise `benchmark.train_samples`",
        )


def _points(settings: Settings, sample_ids: list[str], train: ndarray) -> ndarray:
    vectors = signature_vectors(cast(Any, SIGNATURES.read(SIGNATURES_PATH)), sample_ids)
    return features(vectors, train, settings.cluster.components)


@dataclass(frozen=True)
class Work:
    """What processes need to take gradients; can be pickled.

    Attributes:
        settings: all of them.
        name: of the pooled profile set.
        parts: where gradients go, `[texts, projections]` for every target and chunk of texts.
    """

    settings: Settings
    name: str
    parts: Parts


@dataclass(frozen=True)
class Piece:
    """Some texts at one target."""

    part: str
    target: float
    texts: list[TokenizedSample]


class Bench:
    """What one process takes gradients with: a model, whose thresholds mask it, and the pooled allocations."""

    def __init__(self, work: Work) -> None:
        start_logging()
        settings, self.parts = work.settings, work.parts
        self._loaded: LoadedModel = load_model(settings.model)
        self._settings, self._criterion = settings, settings.profiles[work.name].criterion
        self._pooled: Any = ALLOCATIONS.read(ALLOCATIONS_PATH.format(name=work.name))
        histograms: Any = GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme="global"))
        self._bins = Bins(settings.capture.mantissa_bits)
        self._counts = counts_of(histograms[histograms["criterion"] == self._criterion], self._bins)
        found = projections(self._loaded.model)
        self.places = [(projection.block, projection.name) for projection in found]
        weights = np.array([projection.gated_weights for projection in found], dtype=np.float64)
        self.fraction = weights / weights.sum()

    def allocation(self, target: float) -> ndarray:
        """The pooled sparsity of every projection."""
        rows = self._pooled[self._pooled["target"] == target].set_index(["block", "projection"])["sparsity"]
        return rows.loc[self.places].to_numpy()

    def gradients(self, texts: list[TokenizedSample], target: float) -> ndarray:
        """Of every text, at the pooled allocation of a target."""
        tokens = self._settings.tokens
        inputs = LossInputs(
            self._loaded, texts, self._counts, self._bins, self._criterion, tokens.dense_prefix, tokens.batch
        )
        return LossGradients(inputs).by_text(self.allocation(target))


def _allocation_gradients(settings: Settings, name: str, samples: Any) -> ndarray:
    """Of the train samples, in the order of the table."""
    texts = tokenized_samples(samples)
    targets = settings.gradient.targets
    by_target = [
        [
            Piece(f"{target:g}-{first:06d}.npy", target, texts[first : first + CHUNK])
            for first in range(0, len(texts), CHUNK)
        ]
        for target in targets
    ]
    pieces = [piece for one in by_target for piece in one]
    fingerprint = {
        "samples": file_digest(SAMPLES_PATH),
        "allocations": file_digest(ALLOCATIONS_PATH.format(name=name)),
        "histograms": file_digest(GROUP_HISTOGRAMS_PATH.format(scheme="global")),
        "criterion": settings.profiles[name].criterion,
        "mantissa_bits": settings.capture.mantissa_bits,
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "chunk": CHUNK,
    }
    with Scratch(f"gradient_clusters@{name}", fingerprint) as parts:
        work = Work(settings, name, parts)
        missing = [piece for piece in pieces if not parts.has(piece.part)]
        with tqdm(
            total=sum(len(piece.texts) for piece in missing), desc=f"gradients of {name}", unit="text"
        ) as progress:
            processes = model_processes(settings.model)
            finish(_take, missing, make=partial(Bench, work), processes=processes, advance=progress.update)
        gradients = [np.concatenate([np.load(parts.path(piece.part)) for piece in one]) for one in by_target]
        bench = Bench(work)
    return allocation_gradients(gradients, [bench.allocation(target) for target in targets], bench.fraction)


def _take(bench: Bench, piece: Piece, advance: Advance) -> None:
    """Finish one part."""
    found = bench.gradients(piece.texts, piece.target)
    with bench.parts.writing(piece.part) as path, path.open("wb") as file:
        np.save(file, found)
    advance(len(piece.texts))


def _gains_of_schemes(samples: Any, train: ndarray, gradients: ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """The gain of groups that were made without looking at gradients, as a scale: learned ones, labels, random ones."""
    mine = samples[train]
    ids = mine["sample_id"].to_numpy()
    activation: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme="activation"), columns=("sample_id", "group"))
    random: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme=GRADIENT_RANDOM_SCHEMES[0]))
    known = {
        "activation": activation.set_index("sample_id")["group"].loc[ids].to_numpy(),
        **{scheme: label_groups(mine[scheme].tolist(), np.ones(len(mine), bool)) for scheme in LABEL_SCHEMES},
        GRADIENT_RANDOM_SCHEMES[0]: random.set_index("sample_id")["group"].loc[ids].to_numpy(),
    }
    return {name: held_out_gain(groups, gradients, seed) for name, groups in known.items() if len(set(groups)) > 1}


def _write(samples: Any, scheme: str, groups: ndarray, distances: ndarray) -> None:
    rows = samples[["sample_id", "split"]].assign(scheme=scheme, group=groups, distance=distances)
    ASSIGNMENTS.write(rows, ASSIGNMENTS_PATH.format(scheme=scheme))


def _write_quality(found: GradientGroups, schemes: dict[str, tuple[float, float]], train: ndarray) -> None:
    quality = {
        "groups": found.chosen.count,
        "penalty": found.chosen.penalty,
        "sizes_train": np.bincount(found.groups[train]).tolist(),
        "sizes_test": np.bincount(found.groups[~train], minlength=found.chosen.count).tolist(),
        "gains": [asdict(one) for one in found.gains],
        "schemes": {name: {"mean": mean, "error": error} for name, (mean, error) in schemes.items()},
    }
    with replacing(QUALITY_PATH) as path:
        path.write_text(json.dumps(quality, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_named(main)
