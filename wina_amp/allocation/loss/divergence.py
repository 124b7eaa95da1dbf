"""The loss of `kl` allocation, without gradients: the KL divergence of the masked from the dense model's answers.

    loss of a text = sum over its positions of KL(dense || masked)          in nats       (`answers.kl_divergence`)

Calibration texts are train samples. Thresholds are quantiles of the group's own score histograms, those of the dense
model, compared exactly as `wina_amp.masks.reference` compares them. The profile's own are calibrated afterwards, under
its masks (`wina_amp/thresholds/as_run.py`): a search that did so would need a sweep for every loss.

Curves ask for many allocations that mask a single projection. The dense input of every block is therefore kept, and an
allocation runs only from the first block that it masks: half of the blocks on average. Memory: blocks x tokens x hidden
of the calibration texts.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from operator import attrgetter
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor, nn

from wina_amp.allocation.calibration.cost import weight_fractions
from wina_amp.allocation.loss.answers import AnswerBatch, answer_batches, hidden_states, kl_divergence
from wina_amp.allocation.loss.limits import Limits
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.masks.install import replaced_activations
from wina_amp.masks.reference import mask
from wina_amp.models.mask_sites import Tap
from wina_amp.models.projections import projections


@dataclass(frozen=True)
class _Batch:
    """One batch of calibration text.

    Attributes:
        numbers: which texts.
        answer: their tokens and positions.
        arguments: of every block: keyword arguments of its forward call.
        dense: final hidden states of the dense model at the positions.
        inputs: residual stream in front of every block of the dense model.
    """

    numbers: list[int]
    answer: AnswerBatch
    arguments: list[dict[str, Any]]
    dense: Float[Tensor, "positions hidden"]
    inputs: list[Float[Tensor, "batch width hidden"]]


class Divergence:
    """The loss of an allocation. Masks are on the model while it is computed, and none afterwards.

    Args:
        inputs: the model, the texts, and whose thresholds mask them.
    """

    def __init__(self, inputs: LossInputs) -> None:
        self._inputs = inputs
        self._layers = list(attrgetter(inputs.loaded.family.layers)(inputs.loaded.model))
        self._projections = projections(inputs.loaded.model)
        self._limits = Limits(self._projections, inputs.counts, bins=inputs.bins, criterion=inputs.criterion)

    @property
    def costs(self) -> list[int]:
        """Weights of every projection."""
        return [projection.gated_weights for projection in self._projections]

    @property
    def fractions(self) -> Float[ndarray, " projections"]:
        """Weights of every projection over those of all."""
        return weight_fractions(self.costs)

    @property
    def keys(self) -> list[tuple[int, str]]:
        """Block and name of every projection."""
        return [(projection.block, projection.name) for projection in self._projections]

    def loss(self, sparsity: Float[ndarray, " projections"]) -> float:
        """KL of an allocation, in nats per position."""
        positions = sum(len(batch.answer.owners) for batch in self._batches)
        return float(self.losses(sparsity).sum()) / positions

    def losses(self, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, " texts"]:
        """KL of every text, in nats, summed over its positions."""
        self._inputs.meter.evaluated(1)
        losses, first = np.zeros(len(self._inputs.texts)), self._first_masked(sparsity)
        with torch.inference_mode():
            for batch in self._batches:
                masks = (
                    (Tap(projection.module), partial(self._masked, number, float(value), batch.answer.eligible))
                    for number, (projection, value) in enumerate(zip(self._projections, sparsity, strict=True))
                    if value != 0
                )
                with replaced_activations(masks):
                    hidden = self._run(batch, first)
                kl = kl_divergence(self._inputs.loaded, batch.dense, hidden[batch.answer.positions])
                losses[batch.numbers] = batch.answer.by_text(kl).cpu().numpy()
        return losses

    @cached_property
    def _batches(self) -> list[_Batch]:
        """All texts; made when a loss is asked for, because a search that finds all losses kept asks for none."""
        of = self._inputs
        with of.meter.uncounted():
            planned = answer_batches(of.texts, of.budget, of.dense_prefix, of.loaded.device)
            return [self._dense(numbers, answer) for numbers, answer in planned]

    def _dense(self, numbers: list[int], answer: AnswerBatch) -> _Batch:
        """Run the dense model on a batch, and keep the inputs of its blocks."""
        inputs: list[Tensor] = []
        arguments: list[dict[str, Any]] = []

        def watch(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs.append(args[0] if args else kwargs["hidden_states"])
            arguments.append({name: value for name, value in kwargs.items() if name != "hidden_states"})

        with ExitStack() as hooks, torch.inference_mode():
            for layer in self._layers:
                hooks.callback(layer.register_forward_pre_hook(watch, with_kwargs=True).remove)
            dense = hidden_states(self._inputs.loaded, answer)
        return _Batch(numbers, answer, arguments, dense, inputs)

    def _run(self, batch: _Batch, first: int) -> Float[Tensor, "batch width hidden"]:
        """Final hidden states, from block `first` on."""
        hidden = batch.inputs[first]
        for layer, arguments in zip(self._layers[first:], batch.arguments[first:], strict=True):
            output = layer(hidden, **arguments)
            hidden = cast(Tensor, output[0] if isinstance(output, tuple) else output)
        return attrgetter(self._inputs.loaded.family.final_norm)(self._inputs.loaded.model)(hidden)

    def _first_masked(self, sparsity: Float[ndarray, " projections"]) -> int:
        """The first block that is masked; the last one if none is."""
        masked = np.flatnonzero(sparsity)
        return self._projections[masked[0]].block if len(masked) else len(self._layers) - 1

    def _masked(
        self, number: int, sparsity: float, eligible: Bool[Tensor, "batch width"], x: Float[Tensor, "batch width in"]
    ) -> Float[Tensor, "batch width in"]:
        """The masked input of projection `number`."""
        rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return mask(x, self._limits.cutoffs(number, sparsity), rows, eligible.to(x.device), torch.zeros_like(rows))
