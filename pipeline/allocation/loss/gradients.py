"""The derivative of the loss of `kl` allocation by every sparsity, and by every feature's weight, from one backward
pass.

Passes run the exact masks of the allocation; what a threshold's derivative is taken to be stands in
`pipeline/allocation/loss/straight_through.py`. One call costs a forward and a backward pass by the inputs (weights need
no gradients): on a CPU the time of about four forward passes, whatever the number of projections. Memory: activations
of one batch.

A mask that is soft in the forward pass too, sigmoid((log score - log t) / tau), has an exact derivative, but of another
loss than that of the masks that will run; its descents ended higher (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from pipeline.allocation.calibration.texts import minibatch
from pipeline.allocation.loss import descent
from pipeline.allocation.loss.answers import AnswerBatch, answer_batch, divergences
from pipeline.allocation.loss.limits import Limits
from pipeline.allocation.loss.loss_inputs import LossInputs
from pipeline.allocation.loss.straight_through import Band, straight_through_mask
from pipeline.tokens.batching import batches
from wina_amp.models.projections import projections

HALF_WIDTH = 1.35
"""Scores within this factor of the threshold are its band: wide enough for thousands of features of a
small batch. A band of equal width in sparsity instead was tried and ended higher (docs/log.md)."""

SMALLEST_BAND = 1e-3
"""Of all scores, where a histogram has next to none around its threshold: keeps the quotient finite."""


class LossGradients:
    """Derivatives of the loss on any subset of the texts. While one is computed, hooks are on the model and its
    parameters need no gradients; afterwards it is as it was.

    Args:
        inputs: the model, the texts, and whose thresholds mask them.

    Attributes:
        texts: how many there are.
    """

    def __init__(self, inputs: LossInputs) -> None:
        self._inputs = inputs
        self._loaded = inputs.loaded
        self.texts = len(inputs.texts)
        self._texts = inputs.texts
        self._projections = projections(inputs.loaded.model)
        self.masked_by(inputs.counts)
        self._prefix = inputs.dense_prefix
        self._budget = inputs.budget
        self._running: _Running | None = None
        self._dense: dict[int, Tensor] = {}
        self._batch_of = {number: batch for batch in self._planned(range(self.texts)) for number in batch}
        self._meter = inputs.meter

    def at(
        self, sparsity: Float[ndarray, " projections"], picked: Sequence[int]
    ) -> tuple[float, Float[ndarray, " projections"]]:
        """The loss on the picked texts, in nats per place, and its derivative by every sparsity."""
        return self._mean(self._passes(sparsity, picked))

    def by_weight(self, sparsity: Float[ndarray, " projections"], picked: Sequence[int]) -> WeightGradients:
        """The same with the derivative by the logarithm of every feature's weight, sparsities held."""
        factors = [torch.zeros_like(weights, requires_grad=True) for weights in self._limits.weights]
        loss, by_sparsity = self._mean(self._passes(sparsity, picked, factors))
        places = sum(len(self._texts[number].answer_ids) for number in picked)
        by_weight = [torch.zeros_like(one) if one.grad is None else one.grad / places for one in factors]
        return WeightGradients(loss, by_sparsity, by_weight)

    def masked_by(self, counts: Mapping[tuple[int, str], Int[ndarray, " count"]]) -> None:
        """Take thresholds from other histograms, and the weights that the model has by now."""
        inputs = self._inputs
        self._limits = Limits(self._projections, counts, bins=inputs.bins, criterion=inputs.criterion)

    def by_text(self, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, "texts projections"]:
        """The derivative of every text's loss, in nats summed over its places, by every sparsity.

        Guarantee: summed over the texts it is the gradient of `at` times the number of places.
        """
        self._meter.evaluated(1)
        found = np.zeros((self.texts, len(self._projections)))
        for batch in self._passes(sparsity, range(self.texts)):
            found[batch.numbers] = batch.gradients
        return found

    def on_minibatches(self, numbers: Sequence[int], size: int, seed: int) -> descent.LossGradients:
        """The gradients as `descent.descend` asks for them, on mini-batches of these texts
        (`calibration.minibatch`)."""

        def gradients(sparsity: Float[ndarray, " projections"], step: int) -> Float[ndarray, " projections"]:
            picked = [numbers[place] for place in minibatch(step, len(numbers), size, seed)]
            return self.at(sparsity, picked)[1]

        return gradients

    def _mean(self, passes: Iterable[_Pass]) -> tuple[float, Float[ndarray, " projections"]]:
        """Loss and gradients per place of all passes together."""
        self._meter.evaluated(1)
        total, places = 0.0, 0
        gradients = np.zeros(len(self._projections))
        for batch in passes:
            total += batch.loss
            places += batch.places
            gradients += batch.gradients.sum(axis=0)
        return total / places, gradients / places

    def _passes(
        self,
        sparsity: Float[ndarray, " projections"],
        picked: Sequence[int],
        factors: Sequence[Float[Tensor, " in"]] | None = None,
    ) -> Iterator[_Pass]:
        """A forward and a backward pass for every batch of the picked texts."""
        with self._prepared():
            for batch in self._planned(picked):
                answer, dense = self._answer(batch), self._dense_states(batch)
                levers = torch.zeros(len(self._projections), len(batch), requires_grad=True)
                self._running = _Running(sparsity, answer.eligible, levers, factors)
                hidden = self._loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state
                self._running = None
                loss = divergences(self._head, dense, hidden[answer.places]).sum()
                loss.backward()
                gradients = torch.zeros_like(levers) if levers.grad is None else levers.grad
                yield _Pass(batch, float(loss.detach()), len(answer.owners), gradients.T.double().numpy())

    @contextmanager
    def _prepared(self) -> Generator[None]:
        """Hooks on the model, and no gradients of its parameters."""
        with ExitStack() as undo:
            for number, projection in enumerate(self._projections):
                undo.callback(projection.module.register_forward_pre_hook(self._mask_hook(number)).remove)
            for parameter in self._loaded.model.parameters():
                if parameter.requires_grad:
                    undo.callback(parameter.requires_grad_, True)
                    parameter.requires_grad_(False)
            yield

    @property
    def _head(self) -> Callable[[Tensor], Tensor]:
        return cast(Callable[[Tensor], Tensor], self._loaded.model.get_output_embeddings())

    def _dense_states(self, numbers: Sequence[int]) -> Float[Tensor, "places hidden"]:
        """The dense model's final hidden states at the places of these texts.

        Each is computed once, in a batch that depends on the texts alone: rounding must not depend on which mini-batch
        asked first.
        """
        for number in numbers:
            if number not in self._dense:
                batch = self._batch_of[number]
                answer = self._answer(batch)
                with torch.no_grad(), self._meter.uncounted():
                    hidden = self._loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state
                self._dense |= {text: hidden[row][answer.places[row]] for row, text in enumerate(batch)}
        return torch.cat([self._dense[number] for number in numbers])

    def _answer(self, numbers: Sequence[int]) -> AnswerBatch:
        return answer_batch([self._texts[number] for number in numbers], self._prefix, self._loaded.device)

    def _planned(self, numbers: Sequence[int]) -> list[list[int]]:
        """These texts in batches."""
        chosen = [self._texts[number] for number in numbers]
        planned = batches([text.length - 1 for text in chosen], [text.sample_id for text in chosen], self._budget)
        return [[numbers[place] for place in batch] for batch in planned]

    def _mask_hook(self, number: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            running = self._running
            if running is None:
                return None
            x: Tensor = args[0]
            eligible, weights = running.eligible.to(x.device), self._limits.weights[number]
            band = self._band(number, float(running.sparsity[number]))
            factors = None if running.factors is None else running.factors[number]
            return (straight_through_mask(x, running.levers[number], weights, eligible, band, factors), *args[1:])

        return pre_hook

    def _band(self, number: int, sparsity: float) -> Band:
        limit = self._limits.threshold(number, sparsity)
        below, above = limit / HALF_WIDTH, limit * HALF_WIDTH
        width = self._limits.sparsity(number, above) - self._limits.sparsity(number, below)
        return Band(below, limit, above, max(width, SMALLEST_BAND))


@dataclass(frozen=True)
class WeightGradients:
    """What `LossGradients.by_weight` finds.

    Attributes:
        loss: in nats per place.
        by_sparsity: its derivative by every sparsity.
        by_weight: of every projection, its derivative by the logarithm of every feature's weight, the projection's
            sparsity held.
    """

    loss: float
    by_sparsity: Float[ndarray, " projections"]
    by_weight: list[Float[Tensor, " in"]]


@dataclass(frozen=True)
class _Running:
    """What the hooks of one pass read.

    Attributes:
        sparsity: of every projection.
        eligible: tokens that are masked.
        levers: zeros that stand for the sparsities of every row; their gradients are the gradients.
        factors: of every projection, zeros that stand for the logarithms of its feature weights; None where nobody asks
            for their gradients.
    """

    sparsity: Float[ndarray, " projections"]
    eligible: Bool[Tensor, "batch width"]
    levers: Float[Tensor, "projections batch"]
    factors: Sequence[Float[Tensor, " in"]] | None


@dataclass(frozen=True)
class _Pass:
    """What one batch has shown.

    Attributes:
        numbers: which texts.
        loss: of all of them, in nats.
        places: that were predicted.
        gradients: derivative of every text's loss by every sparsity.
    """

    numbers: Sequence[int]
    loss: float
    places: int
    gradients: Float[ndarray, "batch projections"]
