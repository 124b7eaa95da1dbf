"""gradient_clusters: gradients of single texts at a pooled `kl` allocation -> assignments of the scheme `gradient`,
random groups of the same sizes, and the first-order gain of every number of groups and of every other scheme.

Chunks of texts are the tasks of a worker pool, and finished ones are kept over interruptions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy import ndarray
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.executors.pool import Advance
from pipeline.grouping.gradient_clusters import GradientGroups, allocation_gradients, gradient_groups, held_out_gain
from pipeline.grouping.schemes import label_groups, shuffled_groups
from pipeline.grouping.signature_vectors import signature_vectors
from pipeline.storage.parts import Parts, npy_bytes
from pipeline.storage.schemas import ALLOCATIONS, ASSIGNMENTS, GROUP_HISTOGRAMS, SAMPLES, SIGNATURES
from stages.inputs import paths
from stages.inputs.allocation import counts_of
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model
from stages.inputs.workers import model_workers
from wina_amp.allocation.calibration.cost import weight_fractions
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.atomic import replacing
from wina_amp.errors import UserError
from wina_amp.grouping.clustering import features
from wina_amp.histograms.bins import Bins
from wina_amp.models.projections import projections
from wina_amp.names import GRADIENT, GRADIENT_RANDOM_SCHEMES, LABEL_SCHEMES
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

CHUNK = 128
"""Texts whose gradients are taken together."""

SAMPLES_PER_GROUP = 2
"""Train samples that a group must have on average, at least."""

_COLUMNS = ("sample_id", "split", "prompt_ids", "answer_ids", *LABEL_SCHEMES)


def main(settings: Settings, name: str) -> None:
    """Write the assignments of gradient clusters, of random groups of their sizes, and the quality JSON.

    `name` is the pooled profile set whose allocation gradients are clustered.

    Raises:
        UserError: more groups than the train samples allow.
    """
    samples: Any = SAMPLES.read(paths.SAMPLES, columns=_COLUMNS)
    train = (samples["split"] == "train").to_numpy()
    _check_counts(settings, int(train.sum()))
    points = _points(settings, samples["sample_id"].tolist(), train)
    gradients = _allocation_gradients(settings, name, samples[train])
    clusters = gradient_groups(points, train, gradients, settings.gradient.counts, settings.seed)
    _write(samples, GRADIENT, clusters.groups, clusters.distances)
    for draw, scheme in enumerate(GRADIENT_RANDOM_SCHEMES):
        _write(samples, scheme, shuffled_groups(clusters.groups, train, settings.seed, draw), np.zeros(len(samples)))
    _write_quality(clusters, _gains_of_schemes(samples, train, gradients, settings.seed), train)


def _check_counts(settings: Settings, train: int) -> None:
    most = max(settings.gradient.counts)
    if most * SAMPLES_PER_GROUP > train:
        raise UserError(
            f"`gradient.counts` must leave {SAMPLES_PER_GROUP} train samples or more to a group",
            found=f"{most} groups for {train} train samples",
            where="`gradient.counts` in params.yaml",
            remedy="lower the largest count or raise `benchmark.train_samples`",
        )


def _points(settings: Settings, sample_ids: list[str], train: ndarray) -> ndarray:
    by_block = signature_vectors(SIGNATURES.parts(paths.SIGNATURES), sample_ids)
    return features(by_block.reshape(len(by_block), -1, by_block.shape[3]), train, settings.cluster.components)


@dataclass(frozen=True)
class Task:
    """Some texts at one target, and the name of the part with their gradients, `[texts, projections]`."""

    part: str
    target: float
    texts: list[TokenizedSample]


class Worker:
    """A process that takes gradients: a model, the thresholds that mask it, the allocations of the pooled profile set
    `name`, and where gradients go."""

    def __init__(self, settings: Settings, name: str, parts: Parts) -> None:
        self.parts = parts
        self._loaded = load_model(settings.model)
        self._tokens, self._criterion = settings.tokens, settings.profiles[name].criterion
        self._pooled: Any = ALLOCATIONS.read(paths.allocations(name))
        histograms: Any = GROUP_HISTOGRAMS.read(paths.group_histograms("global"))
        self._bins = Bins(settings.capture.mantissa_bits)
        self._counts = counts_of(histograms[histograms["criterion"] == self._criterion], self._bins)
        self._projections = projections(self._loaded.model)

    def fraction(self) -> ndarray:
        """Weights of every projection over those of all."""
        return weight_fractions([projection.gated_weights for projection in self._projections])

    def allocation(self, target: float) -> ndarray:
        """The pooled sparsity of every projection."""
        rows = self._pooled[self._pooled["target"] == target].set_index(["block", "projection"])["sparsity"]
        return rows.loc[[(projection.block, projection.name) for projection in self._projections]].to_numpy()

    def gradients(self, texts: list[TokenizedSample], target: float) -> ndarray:
        """Of every text, at the pooled allocation of a target."""
        prefix, budget = self._tokens.dense_prefix, self._tokens.batch
        inputs = LossInputs(self._loaded, texts, self._counts, self._bins, self._criterion, prefix, budget)
        return LossGradients(inputs).by_text(self.allocation(target))


def _allocation_gradients(settings: Settings, name: str, samples: Any) -> ndarray:
    """Of the train samples, in the order of the table."""
    texts = tokenized_samples(samples)
    targets = settings.gradient.targets
    chunks = [(first, texts[first : first + CHUNK]) for first in range(0, len(texts), CHUNK)]
    by_target = [
        [Task(f"{target}-{first:06d}-{len(chunk)}.npy", target, chunk) for first, chunk in chunks] for target in targets
    ]
    fingerprint = Fingerprint(settings, "gradient_clusters", name)
    # The names of parts say the target, and groups are made of gradients later.
    later = ("seed", "cluster.components", "gradient", paths.SIGNATURES, paths.assignments("activation"))
    with fingerprint.scratch(dict.fromkeys(later)) as parts:
        missing = [task for tasks in by_target for task in tasks if not parts.has(task.part)]
        total = sum(len(task.texts) for task in missing)
        make_worker = partial(Worker, settings, name, parts)
        with (
            model_workers(make_worker, fingerprint, settings.model, len(missing)) as pool,
            tqdm(total=total, desc=f"gradients of {name}", unit="text") as progress,
        ):
            pool.map(_write_gradients, missing, progress.update)
            [(allocations, fraction)] = pool.map(_allocations, [targets])
        gradients = [np.concatenate([np.load(parts.path(task.part)) for task in tasks]) for tasks in by_target]
    return allocation_gradients(gradients, allocations, fraction)


def _write_gradients(worker: Worker, task: Task, advance: Advance) -> None:
    gradients = worker.gradients(task.texts, task.target)
    worker.parts.write(task.part, npy_bytes(gradients))
    advance(len(task.texts))


def _allocations(worker: Worker, targets: Sequence[float], _advance: Advance) -> tuple[list[ndarray], ndarray]:
    """The pooled allocation of every target, and the projections' fractions of the weights."""
    return [worker.allocation(target) for target in targets], worker.fraction()


def _gains_of_schemes(samples: Any, train: ndarray, gradients: ndarray, seed: int) -> dict[str, tuple[float, float]]:
    """The gain of groups that were made without looking at gradients, as a scale: learned ones, labels, random ones."""
    members = samples[train]
    ids = members["sample_id"].to_numpy()
    activation: Any = ASSIGNMENTS.read(paths.assignments("activation"), columns=("sample_id", "group"))
    random: Any = ASSIGNMENTS.read(paths.assignments(GRADIENT_RANDOM_SCHEMES[0]))
    groups_of = {
        "activation": activation.set_index("sample_id")["group"].loc[ids].to_numpy(),
        **{scheme: label_groups(members[scheme].tolist(), np.ones(len(members), bool)) for scheme in LABEL_SCHEMES},
        GRADIENT_RANDOM_SCHEMES[0]: random.set_index("sample_id")["group"].loc[ids].to_numpy(),
    }
    return {name: held_out_gain(groups, gradients, seed) for name, groups in groups_of.items() if len(set(groups)) > 1}


def _write(samples: Any, scheme: str, groups: ndarray, distances: ndarray) -> None:
    rows = samples[["sample_id", "split"]].assign(scheme=scheme, group=groups, distance=distances)
    ASSIGNMENTS.write(rows, paths.assignments(scheme))


def _write_quality(clusters: GradientGroups, schemes: dict[str, tuple[float, float]], train: ndarray) -> None:
    quality = {
        "groups": clusters.chosen.count,
        "penalty": clusters.chosen.penalty,
        "sizes_train": np.bincount(clusters.groups[train]).tolist(),
        "sizes_test": np.bincount(clusters.groups[~train], minlength=clusters.chosen.count).tolist(),
        "gains": [asdict(gain) for gain in clusters.gains],
        "schemes": {name: {"mean": mean, "error": error} for name, (mean, error) in schemes.items()},
    }
    with replacing(paths.GRADIENT_QUALITY) as path:
        path.write_text(json.dumps(quality, indent=2, sort_keys=True) + "\n", encoding="utf-8")
