"""Gradients of the loss of `kl` allocation by every sparsity, and by every feature's weight, from one backward pass.

Passes run the exact masks of the allocation; the straight-through estimator of a threshold's derivative is in
`wina_amp/allocation/loss/straight_through.py`. One call costs a forward and a backward pass by the inputs (weights need
no gradients): on a CPU the time of about four forward passes, whatever the number of projections. Memory: activations
of one batch.

A mask that is soft in the forward pass too, sigmoid((log score - log t) / tau), has an exact derivative, but of another
loss than that of the masks that will run; its descents ended higher (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.calibration.texts import minibatch
from wina_amp.allocation.loss import descent
from wina_amp.allocation.loss.answers import (
    AnswerBatch,
    answer_batch,
    hidden_states,
    kl_divergence,
    planned,
    positions_of,
)
from wina_amp.allocation.loss.limits import Limits
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.loss.straight_through import Band, straight_through_mask
from wina_amp.masks.install import replaced_activations
from wina_amp.models.mask_sites import Tap
from wina_amp.models.projections import projections

HALF_WIDTH = 1.35
"""Scores within this factor of the threshold are its band: wide enough for thousands of features of a small batch. A
band of equal width in sparsity instead was tried and ended higher (docs/log.md)."""

SMALLEST_BAND = 1e-3
"""Of all scores, where a histogram has next to none around its threshold: keeps the quotient finite."""


_Pass = tuple[list[int], int, Float[ndarray, "batch projections"]]
"""Of one batch: the numbers of its texts, positions that predict their answers, the derivative of every text's loss by
every sparsity."""


class LossGradients:
    """Derivatives of the loss on any subset of the texts. While one is computed, masks are on the model and its
    parameters need no gradients; afterwards it is as it was.

    Args:
        inputs: the model, the texts, and whose thresholds mask them.

    Attributes:
        texts: how many there are.
    """

    def __init__(self, inputs: LossInputs) -> None:
        self._inputs, self._loaded, self._texts = inputs, inputs.loaded, inputs.texts
        self.texts = len(inputs.texts)
        self._projections = projections(inputs.loaded.model)
        self.masked_by(inputs.counts)
        self._dense: dict[int, Tensor] = {}
        self._batch_of = {number: batch for batch in self._planned(range(self.texts)) for number in batch}

    def at(self, sparsity: Float[ndarray, " projections"], picked: Sequence[int]) -> Float[ndarray, " projections"]:
        """The derivative of the loss on the picked texts, in nats per position, by every sparsity."""
        return self._mean(self._passes(sparsity, picked))

    def by_weight(
        self, sparsity: Float[ndarray, " projections"], picked: Sequence[int]
    ) -> tuple[Float[ndarray, " projections"], list[Float[Tensor, " in"]]]:
        """The same, and of every projection the derivative by the logarithm of every feature's weight, sparsities
        held."""
        log_factors = [torch.zeros_like(weights, requires_grad=True) for weights in self._limits.weights]
        by_sparsity = self._mean(self._passes(sparsity, picked, log_factors))
        positions = sum(positions_of(self._texts[number]) for number in picked)
        return by_sparsity, [torch.zeros_like(log) if log.grad is None else log.grad / positions for log in log_factors]

    def masked_by(self, counts: Mapping[tuple[int, str], Int[ndarray, " count"]]) -> None:
        """Take thresholds from other histograms, and the weights that the model has by now."""
        inputs = self._inputs
        self._limits = Limits(self._projections, counts, bins=inputs.bins, criterion=inputs.criterion)

    def by_text(self, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, "texts projections"]:
        """The derivative of every text's loss, in nats summed over its positions, by every sparsity.

        Guarantee: summed over the texts it is the gradient of `at` times the number of positions.
        """
        self._inputs.meter.evaluated(1)
        gradients = np.zeros((self.texts, len(self._projections)))
        for numbers, _, of_texts in self._passes(sparsity, range(self.texts)):
            gradients[numbers] = of_texts
        return gradients

    def on_minibatches(self, numbers: Sequence[int], size: int, seed: int) -> descent.LossGradients:
        """The gradients as `descent.descend` asks for them, on mini-batches of these texts
        (`calibration.minibatch`)."""

        def gradients(sparsity: Float[ndarray, " projections"], step: int) -> Float[ndarray, " projections"]:
            picked = [numbers[position] for position in minibatch(step, len(numbers), size, seed)]
            return self.at(sparsity, picked)

        return gradients

    def _mean(self, passes: Iterable[_Pass]) -> Float[ndarray, " projections"]:
        """Gradients per position of all passes together."""
        self._inputs.meter.evaluated(1)
        positions, gradients = 0, np.zeros(len(self._projections))
        for _, read, of_texts in passes:
            positions += read
            gradients += of_texts.sum(axis=0)
        return gradients / positions

    def _passes(
        self,
        sparsity: Float[ndarray, " projections"],
        picked: Sequence[int],
        log_factors: Sequence[Float[Tensor, " in"]] | None = None,
    ) -> Iterator[_Pass]:
        """A forward and a backward pass for every batch of the picked texts.

        `log_factors`, zeros, get the derivative by the logarithms of the feature weights.
        """
        with self._without_parameter_gradients():
            for batch in self._planned(picked):
                answer, dense = self._answer(batch), self._dense_states(batch)
                shifts = torch.zeros(len(self._projections), len(batch), requires_grad=True)
                masks = (
                    (Tap(projection.module), partial(self._masked, number, sparsity, answer, shifts, log_factors))
                    for number, projection in enumerate(self._projections)
                )
                with replaced_activations(masks):
                    hidden = hidden_states(self._loaded, answer)
                kl_divergence(self._loaded, dense, hidden).sum().backward()
                gradients = torch.zeros_like(shifts) if shifts.grad is None else shifts.grad
                yield batch, len(answer.owners), gradients.T.double().numpy()

    @contextmanager
    def _without_parameter_gradients(self) -> Generator[None]:
        with ExitStack() as undo:
            for parameter in self._loaded.model.parameters():
                if parameter.requires_grad:
                    undo.callback(parameter.requires_grad_, True)
                    parameter.requires_grad_(False)
            yield

    def _dense_states(self, numbers: Sequence[int]) -> Float[Tensor, "positions hidden"]:
        """The dense model's final hidden states at the positions of these texts.

        Each is computed once, in a batch that depends on the texts alone: rounding must not depend on which mini-batch
        asked first.
        """
        for number in numbers:
            if number not in self._dense:
                batch = self._batch_of[number]
                answer = self._answer(batch)
                with torch.no_grad(), self._inputs.meter.uncounted():
                    hidden = hidden_states(self._loaded, answer)
                self._dense |= {text: hidden[answer.owners == row] for row, text in enumerate(batch)}
        return torch.cat([self._dense[number] for number in numbers])

    def _answer(self, numbers: Sequence[int]) -> AnswerBatch:
        inputs = self._inputs
        return answer_batch([self._texts[number] for number in numbers], inputs.dense_prefix, inputs.loaded.device)

    def _planned(self, numbers: Sequence[int]) -> list[list[int]]:
        """These texts in batches."""
        parts = planned([self._texts[number] for number in numbers], self._inputs.budget)
        return [[numbers[position] for position in part] for part in parts]

    def _masked(
        self,
        number: int,
        sparsity: Float[ndarray, " projections"],
        answer: AnswerBatch,
        shifts: Float[Tensor, "projections batch"],
        log_factors: Sequence[Float[Tensor, " in"]] | None,
        x: Float[Tensor, "batch width in"],
    ) -> Float[Tensor, "batch width in"]:
        """The masked input of projection `number`."""
        eligible: Bool[Tensor, "batch width"] = answer.eligible.to(x.device)
        band = self._band(number, float(sparsity[number]))
        log_factor = None if log_factors is None else log_factors[number]
        return straight_through_mask(x, shifts[number], self._limits.weights[number], eligible, band, log_factor)

    def _band(self, number: int, sparsity: float) -> Band:
        limit = self._limits.threshold(number, sparsity)
        below, above = limit / HALF_WIDTH, limit * HALF_WIDTH
        width = self._limits.sparsity(number, above) - self._limits.sparsity(number, below)
        return Band(below, limit, above, max(width, SMALLEST_BAND))
