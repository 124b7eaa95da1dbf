"""The loss of `kl` allocation, without gradients: the KL divergence of the masked from the dense model's answers.

    loss of a text = sum over its positions of KL(dense || masked)          in nats       (`answers.kl_divergence`)

Calibration texts are train samples. Thresholds are quantiles of the group's own score histograms, those of the dense
model, compared exactly as `wina_amp.masks.reference` compares them. The profile's own are calibrated afterwards, under
its masks (`wina_amp/thresholds/as_run.py`): a search that did so would need a sweep for every loss.
"""

from __future__ import annotations

from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.calibration.cost import weight_fractions
from wina_amp.allocation.loss.answers import AnswerBatch, answer_batches, hidden_states, kl_divergence
from wina_amp.allocation.loss.limits import Limits
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.masks.install import replaced_activations
from wina_amp.masks.reference import mask
from wina_amp.models.mask_sites import Tap
from wina_amp.models.projections import projections


class Divergence:
    """The loss of an allocation. Masks are on the model while it is computed, and none afterwards.

    Args:
        inputs: the model, the texts, and whose thresholds mask them.
    """

    def __init__(self, inputs: LossInputs) -> None:
        self._inputs = inputs
        self._projections = projections(inputs.loaded.model)
        self._limits = Limits(self._projections, inputs.counts, bins=inputs.bins, criterion=inputs.criterion)

    @property
    def fractions(self) -> Float[ndarray, " projections"]:
        """Weights of every projection over those of all."""
        return weight_fractions([projection.gated_weights for projection in self._projections])

    def losses(self, sparsity: Float[ndarray, " projections"]) -> Float[ndarray, " texts"]:
        """KL of every text, in nats, summed over its positions."""
        self._inputs.meter.evaluated(1)
        losses, loaded = np.zeros(len(self._inputs.texts)), self._inputs.loaded
        with torch.inference_mode():
            for numbers, answer, dense in self._batches:
                masks = (
                    (Tap(projection.module), partial(self._masked, number, float(value), answer.eligible))
                    for number, (projection, value) in enumerate(zip(self._projections, sparsity, strict=True))
                    if value != 0
                )
                with replaced_activations(masks):
                    hidden = hidden_states(loaded, answer)
                kl = kl_divergence(loaded, dense, hidden)
                losses[numbers] = answer.by_text(kl).cpu().numpy()
        return losses

    @cached_property
    def _batches(self) -> list[tuple[list[int], AnswerBatch, Float[Tensor, "positions hidden"]]]:
        """All texts in batches: their numbers, their tokens, and the dense model's final hidden states. Made when a
        loss is asked for, because a search that finds all losses kept asks for none."""
        of = self._inputs
        with of.meter.uncounted(), torch.inference_mode():
            planned = answer_batches(of.texts, of.budget, of.dense_prefix, of.loaded.device)
            return [(numbers, answer, hidden_states(of.loaded, answer)) for numbers, answer in planned]

    def _masked(
        self, number: int, sparsity: float, eligible: Bool[Tensor, "batch width"], x: Float[Tensor, "batch width in"]
    ) -> Float[Tensor, "batch width in"]:
        """The masked input of projection `number`."""
        rows = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return mask(x, self._limits.cutoffs(number, sparsity), rows, eligible.to(x.device), torch.zeros_like(rows))
