"""The gradients that `learning.learn` asks for, taken on the model, whose learned weights they set.

A mini-batch is worked on in chunks, which share nothing, so that several processes can share a step
(`pipeline.executors.processes.WorkerPool`). Every chunk masks with thresholds of its own: the weights have changed
since the last step. They are read off the dense model's scores on some of its texts. The result does not depend on
which process works on which chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.calibration.cost import Cost, Meter, weight_fractions
from wina_amp.allocation.calibration.texts import minibatch
from wina_amp.allocation.loss.answers import positions_of
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.capture.passes import group_counts
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED
from wina_amp.scoring.criteria import column_norms
from wina_amp.scoring.learned_weights import attach
from wina_amp.tokens.samples import TokenizedSample

CHUNK = 32
"""Texts that are worked on together."""

COUNTED = 16
"""Texts of a chunk that thresholds are read off: thousands of scores for every feature of a projection are enough, and
all of them would make a step a quarter longer."""


@dataclass(frozen=True)
class ChunkTask:
    """One chunk of one step.

    Attributes:
        step: which mini-batch.
        chunk: which part of it, from 0.
        sparsity: of every projection.
        log_weights: of every feature, log of weight over norm.
        of_weights: whether the derivative by them is wanted.
    """

    step: int
    chunk: int
    sparsity: Float[ndarray, " projections"]
    log_weights: Float[ndarray, " features"]
    of_weights: bool


@dataclass(frozen=True)
class ChunkGradients:
    """The gradients of a chunk.

    Attributes:
        positions: that predict the answers.
        by_sparsity: derivative of the loss, summed over the positions, by every sparsity.
        by_weight: by every log weight; zeros if it was not asked for.
        cost: what it took.
    """

    positions: int
    by_sparsity: Float[ndarray, " projections"]
    by_weight: Float[ndarray, " features"]
    cost: Cost


class LearningGradients:
    """Gradients of the loss on chunks of mini-batches; the state of one process.

    Args:
        loaded: the dense model; from now on it has learned weights, those of the last chunk.
        texts: train texts.
        bins: of the histograms that thresholds are read off.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.
        size: texts in a mini-batch.
        seed: of their orders.

    Attributes:
        features: how many every projection has.
        fraction: weights of every projection's matrix over those of all.
        chunks: of a step.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        texts: Sequence[TokenizedSample],
        *,
        bins: Bins,
        dense_prefix: int | float,
        budget: int,
        size: int,
        seed: int,
    ) -> None:
        self._loaded, self._texts, self._size, self._seed = loaded, texts, size, seed
        self._bins, self._prefix, self._budget = bins, dense_prefix, budget
        self._projections = projections(loaded.model)
        self._norms = [column_norms(p.module.weight).double().cpu().numpy() for p in self._projections]
        self.features = [p.in_features for p in self._projections]
        self.fraction = weight_fractions([p.gated_weights for p in self._projections])
        self.chunks = work(size, len(texts)).chunks
        self._gradients: LossGradients | None = None
        self._meter = Meter()

    def weights(self, log_weights: Float[ndarray, " features"]) -> dict[tuple[int, str], Float[Tensor, " in"]]:
        """(block, projection) -> norms times exp of these numbers, float32, on the CPU."""
        parts = np.split(log_weights, np.cumsum(self.features)[:-1])
        triples = zip(self._projections, self._norms, parts, strict=True)
        return {(p.block, p.name): torch.from_numpy(norms * np.exp(part)).float() for p, norms, part in triples}

    def chunk_gradients(self, task: ChunkTask) -> ChunkGradients:
        """Run one chunk."""
        before = self._meter.cost
        attach(self._loaded.model, self.weights(task.log_weights))
        whole = minibatch(task.step, len(self._texts), self._size, self._seed)
        picked = whole[task.chunk * CHUNK : (task.chunk + 1) * CHUNK]
        with self._meter.watching(self._loaded.layers):
            gradients = self._masked_by_scores_of(picked[:COUNTED])
            if task.of_weights:
                by_sparsity, parts = gradients.by_weight(task.sparsity, picked)
                by_weight = torch.cat([gradient.cpu() for gradient in parts]).double().numpy()
            else:
                by_sparsity, by_weight = gradients.at(task.sparsity, picked), np.zeros(sum(self.features))
        positions = sum(positions_of(self._texts[number]) for number in picked)
        return ChunkGradients(positions, by_sparsity * positions, by_weight * positions, self._meter.cost - before)

    def _masked_by_scores_of(self, numbers: Sequence[int]) -> LossGradients:
        texts = [self._texts[number] for number in numbers]
        (counts,) = group_counts(
            self._loaded,
            texts,
            np.zeros(len(texts), np.int64),
            criterion=LEARNED,
            bins=self._bins,
            dense_prefix=self._prefix,
            budget=self._budget,
        )
        if self._gradients is None:
            inputs = LossInputs(
                self._loaded, self._texts, counts, self._bins, LEARNED, self._prefix, self._budget, self._meter
            )
            self._gradients = LossGradients(inputs)
        self._gradients.masked_by(counts)
        return self._gradients


class Work(NamedTuple):
    """The work of one step.

    Attributes:
        chunks: that share nothing.
        gradients: texts of all chunks, each of which a gradient is taken of.
        counted: texts of all chunks that the dense model's scores are counted of.
    """

    chunks: int
    gradients: int
    counted: int


def work(size: int, texts: int) -> Work:
    """The work of a step on a mini-batch of `size` out of so many texts."""
    gradients = min(size, texts)
    chunks = -(-gradients // CHUNK)
    return Work(chunks, gradients, min(chunks * COUNTED, gradients))


def mean(chunks: Sequence[ChunkGradients]) -> tuple[Float[ndarray, " projections"], Float[ndarray, " features"]]:
    """The derivatives of the loss per position over all chunks of a step."""
    positions = sum(chunk.positions for chunk in chunks)
    by_sparsity = np.sum([chunk.by_sparsity for chunk in chunks], axis=0)
    return by_sparsity / positions, np.sum([chunk.by_weight for chunk in chunks], axis=0) / positions
