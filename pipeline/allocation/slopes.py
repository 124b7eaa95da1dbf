"""The derivative of the loss of `kl` allocation by every sparsity, from one backward pass.

Passes run the exact masks of the allocation; what a threshold's derivative is taken to be stands in
`pipeline/allocation/banded_mask.py`. One call costs a forward and a backward pass by the inputs (weights need no
gradients): about three forward passes, whatever the number of projections. Memory: activations of one batch.

A mask that is soft in the forward pass too, sigmoid((log score - log t) / tau), has an exact derivative, but of another
loss than that of the masks that will run; its descents ended higher (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn

from pipeline.allocation import descent
from pipeline.allocation.answers import answer_batch, divergences
from pipeline.allocation.banded_mask import Band, banded_mask
from pipeline.allocation.calibration import Text, minibatch
from pipeline.allocation.cost import Meter
from pipeline.allocation.limits import Limits
from pipeline.batching import batches
from pipeline.histogram import Bins
from pipeline.models.load import LoadedModel
from pipeline.models.projections import projections

HALF_WIDTH = 1.35
"""Scores within this factor of the threshold are its band: wide enough for thousands of features of a
small batch. A band of equal width in sparsity instead was tried and ended higher (docs/log.md)."""

SMALLEST_BAND = 1e-3
"""Of all scores, where a histogram has next to none around its threshold: keeps the quotient finite."""


class Slopes:
    """Derivatives of the loss on any subset of the texts. A context manager: hooks are on the model inside it, and none
    afterwards, and its parameters need gradients again if they did.

    Args:
        loaded: the dense model.
        texts: calibration texts.
        counts: score histogram of every (block, projection) for this criterion.
        bins: the bins they were counted in.
        criterion: how features are scored.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.
        meter: told of every loss.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        texts: Sequence[Text],
        counts: Mapping[tuple[int, str], Int[ndarray, " count"]],
        *,
        bins: Bins,
        criterion: str,
        dense_prefix: int | float,
        budget: int,
        meter: Meter | None = None,
    ) -> None:
        self._loaded = loaded
        self._texts = texts
        self._projections = projections(loaded.model)
        self._limits = Limits(self._projections, counts, bins=bins, criterion=criterion)
        self._prefix = dense_prefix
        self._budget = budget
        self._running: _Running | None = None
        self._undo = ExitStack()
        self._dense: dict[int, Tensor] = {}
        self._meter = meter or Meter()

    def __enter__(self) -> Self:
        for number, projection in enumerate(self._projections):
            handle = projection.module.register_forward_pre_hook(self._mask_hook(number))
            self._undo.callback(handle.remove)
        for parameter in self._loaded.model.parameters():
            if parameter.requires_grad:
                self._undo.callback(parameter.requires_grad_, True)
                parameter.requires_grad_(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def at(
        self, sparsity: Float[ndarray, " projections"], picked: Sequence[int]
    ) -> tuple[float, Float[ndarray, " projections"]]:
        """The loss on the picked texts, in nats per place, and its derivative by every sparsity."""
        self._meter.evaluated(1)
        chosen = [self._texts[number] for number in picked]
        lengths, ids = [text.length - 1 for text in chosen], [text.sample_id for text in chosen]
        total, places = 0.0, 0
        slopes = np.zeros(len(self._projections))
        for batch in batches(lengths, ids, self._budget):
            answer = answer_batch([chosen[row] for row in batch], self._prefix, self._loaded.device)
            dense = self._dense_states([picked[row] for row in batch], answer.ids, answer.places)
            levers = torch.zeros(len(self._projections), requires_grad=True)
            self._running = _Running(sparsity, answer.eligible, levers)
            hidden = self._loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state
            self._running = None
            loss = divergences(self._head, dense, hidden[answer.places]).sum()
            loss.backward()
            total += float(loss.detach())
            places += len(answer.owners)
            slopes += levers.grad.double().numpy() if levers.grad is not None else 0.0
        return total / places, slopes / places

    def on_minibatches(self, numbers: Sequence[int], size: int, seed: int) -> descent.Slopes:
        """The slopes as `descent.descend` asks for them, on mini-batches of these texts (`calibration.minibatch`)."""

        def slopes(sparsity: Float[ndarray, " projections"], step: int) -> Float[ndarray, " projections"]:
            picked = [numbers[place] for place in minibatch(step, len(numbers), size, seed)]
            return self.at(sparsity, picked)[1]

        return slopes

    @property
    def _head(self) -> Callable[[Tensor], Tensor]:
        return cast(Callable[[Tensor], Tensor], self._loaded.model.get_output_embeddings())

    def _dense_states(self, numbers: Sequence[int], ids: Tensor, places: Tensor) -> Float[Tensor, "places hidden"]:
        """The dense model's final hidden states at the places; computed once for every text."""
        if not all(number in self._dense for number in numbers):
            with torch.no_grad():
                hidden = self._loaded.decoder(input_ids=ids, use_cache=False).last_hidden_state
            for row, number in enumerate(numbers):
                self._dense[number] = hidden[row][places[row]]
        return torch.cat([self._dense[number] for number in numbers])

    def _mask_hook(self, number: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...] | None]:
        def pre_hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            running = self._running
            if running is None:
                return None
            x: Tensor = args[0]
            eligible, weights = running.eligible.to(x.device), self._limits.weights[number]
            band = self._band(number, float(running.sparsity[number]))
            return (banded_mask(x, running.levers[number], weights, eligible, band), *args[1:])

        return pre_hook

    def _band(self, number: int, sparsity: float) -> Band:
        limit = self._limits.threshold(number, sparsity)
        below, above = limit / HALF_WIDTH, limit * HALF_WIDTH
        width = self._limits.sparsity(number, above) - self._limits.sparsity(number, below)
        return Band(below, limit, above, max(width, SMALLEST_BAND))


@dataclass(frozen=True)
class _Running:
    """What the hooks of one pass read.

    Attributes:
        sparsity: of every projection.
        eligible: tokens that are masked.
        levers: zeros that stand for the sparsities; their gradients are the slopes.
    """

    sparsity: Float[ndarray, " projections"]
    eligible: Bool[Tensor, "batch width"]
    levers: Float[Tensor, " projections"]
