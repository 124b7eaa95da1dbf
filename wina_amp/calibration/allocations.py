"""The sparsity of every projection of every group at every target, by the allocators that the study's stages call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from wina_amp.allocation.calibration.texts import choose, seeded_order
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.allocation.kl import kl as pooled_kl
from wina_amp.allocation.kl import shrinkage
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.uniform import uniform
from wina_amp.calibration.settings import CalibrationSettings
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.tokens.samples import TokenizedSample

Counts = Mapping[tuple[int, str], Int[ndarray, " count"]]
"""(block, projection) -> score histogram."""

Sparsities = Float[ndarray, "targets projections"]
"""Projections in the order of `projections(model)`: by block, then canonical."""


class Calibration:
    """A model and what is fixed while its groups are allocated.

    Args:
        loaded: the dense model.
        criterion: how features are scored.
        targets: model-wide sparsities, ascending.
        dense_prefix: see `eligibility.eligible`.
        settings: of everything else.

    Attributes:
        projections: of the model, in their order.
        blocks: how many there are.
        bins: of score histograms.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        criterion: str,
        targets: Sequence[float],
        dense_prefix: int | float,
        settings: CalibrationSettings,
    ) -> None:
        self.loaded, self.criterion, self.targets = loaded, criterion, targets
        self.dense_prefix, self.settings = dense_prefix, settings
        self.projections, self.bins = projections(loaded.model), Bins(settings.mantissa_bits)
        self.blocks = self.projections[-1].block + 1

    def uniform(self) -> Sparsities:
        """The same for every projection."""
        return np.array([[uniform(target)] * len(self.projections) for target in self.targets])

    def greedy(self, texts: Sequence[TokenizedSample], counts: Counts, advance: Callable[[int], object]) -> Sparsities:
        """Block after block; `advance` is called with 1 for every block."""
        settings, sparsities = self.settings, list[ndarray]()
        chosen = choose(texts, tokens=settings.greedy_tokens, dense_prefix=self.dense_prefix, seed=settings.seed)
        for block in block_paths(
            self.loaded,
            chosen,
            counts,
            bins=self.bins,
            criterion=self.criterion,
            stop=max(self.targets),
            step=settings.greedy_step,
            dense_prefix=self.dense_prefix,
            budget=settings.batch,
            is_lazy=settings.is_lazy,
        ):
            sparsities.append(np.stack([block.path.at(target)[0] for target in self.targets]))
            advance(1)
        return np.concatenate(sparsities, axis=1)

    def kl(self, texts: Sequence[TokenizedSample], counts: Counts, advance: Callable[[int], object]) -> Sparsities:
        """One group by itself; `advance` is called as `pooled_kl.kl` calls it."""
        inputs, settings = self._inputs(texts, counts), self.settings
        gradients = LossGradients(inputs)
        allocated = pooled_kl.kl(
            Divergence(inputs.on(inputs.texts[: settings.kl_samples])),
            Divergence(inputs.on(inputs.texts[-settings.kl_compared :])).losses,
            gradients.on_minibatches(range(gradients.texts), settings.kl_batch, settings.seed),
            self.targets,
            _Kept(),
            steps=settings.kl_steps,
            rate=settings.kl_rate,
            advance=advance,
        )
        return np.stack([at_target.sparsity for at_target in allocated])

    def kl_group(
        self,
        texts: Sequence[TokenizedSample],
        pooled_counts: Counts,
        pooled: Sparsities,
        advance: Callable[[int], object],
    ) -> Sparsities:
        """One of several groups: from the pooled allocation, as far towards the group's own as held-out loss says;
        `advance` is called as `shrinkage.specialise` calls it."""
        inputs, settings = self._inputs(texts, pooled_counts), self.settings
        folds = [Divergence(inputs.on(inputs.texts[first :: shrinkage.FOLDS])) for first in range(shrinkage.FOLDS)]
        gradients = LossGradients(inputs)
        group = shrinkage.Group(
            dict(zip(self.targets, pooled, strict=True)),
            folds[0].fractions,
            [fold.losses for fold in folds],
            partial(gradients.on_minibatches, size=settings.kl_group_batch, seed=settings.seed),
            texts=gradients.texts,
            steps=settings.kl_group_steps,
            rate=settings.kl_group_rate,
        )
        return np.stack([at_target.sparsity for at_target in shrinkage.specialise(group, _Kept(), advance)])

    def _inputs(self, texts: Sequence[TokenizedSample], counts: Counts) -> LossInputs:
        return LossInputs(
            self.loaded,
            seeded_order(texts, self.settings.seed),
            counts,
            self.bins,
            self.criterion,
            self.dense_prefix,
            self.settings.batch,
        )


class _Kept:
    """A store in memory: nothing of a calibration outlives it."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """The value, or None."""
        return self._values.get(name)

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        self._values[name] = value
