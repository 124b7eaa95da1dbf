"""The sparsity of every projection of every group at every target, by the allocators that the study's stages call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Store
from wina_amp.allocation.calibration.texts import choose, seeded_order
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.allocation.greedy.search import Path
from wina_amp.allocation.kl import kl
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.shrinkage import shrink
from wina_amp.allocation.shrinking_group import kl_group, on_paths, shrinking_group
from wina_amp.calibration.settings import CalibrationSettings
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.names import GREEDY
from wina_amp.tokens.samples import TokenizedSample

Counts = Mapping[tuple[int, str], Int[ndarray, " count"]]
"""(block, projection) -> score histogram."""

Sparsities = Float[ndarray, "targets projections"]
"""Projections in the order of `projections(model)`: by block, then canonical."""


class Calibration:
    """A dense model and what is fixed while its groups are allocated; targets ascend.

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
        return np.array([[target] * len(self.projections) for target in self.targets])

    def pooled(
        self,
        allocation: str,
        texts: Sequence[TokenizedSample],
        counts: Counts,
        advance: Callable[[int], object],
    ) -> Sparsities:
        """All texts as one group, by `greedy` or `kl`; `advance` is called with the blocks or passes done."""
        if allocation == GREEDY:
            paths = self._paths(texts, counts, self.settings.greedy_tokens, advance)
            return np.stack([on_paths(paths, target) for target in self.targets])
        group = kl_group(self._inputs(texts, counts), self._budget, self.settings.seed)
        allocated = kl.kl(group, self.targets, _Kept(), advance)
        return np.stack([at_target.sparsity for at_target in allocated])

    def of_group(
        self,
        allocation: str,
        texts: Sequence[TokenizedSample],
        pooled_counts: Counts,
        pooled: Sparsities,
        groups: int,
        advance: Callable[[int], object],
    ) -> Sparsities:
        """One of so many groups: from the pooled allocation, as far towards its own as held-out loss says; `advance` is
        called with the targets done."""
        tokens, paths = max(1, self.settings.greedy_tokens // groups), list[Path]()

        def measured(kept: Sequence[TokenizedSample], _store: Store) -> list[Path]:
            paths.extend(() if paths else self._paths(kept, pooled_counts, tokens))
            return paths

        group = shrinking_group(
            self._inputs(texts, pooled_counts),
            dict(zip(self.targets, pooled, strict=True)),
            self._budget,
            self.settings.seed,
            measured if allocation == GREEDY else None,
        )
        return np.stack([at_target.sparsity for at_target in shrink(group, _Kept(), advance)])

    @property
    def _budget(self) -> dict[str, Any]:
        settings = self.settings
        return {"steps": settings.kl_steps, "tokens": settings.kl_tokens, "rate": settings.kl_rate}

    def _paths(
        self,
        texts: Sequence[TokenizedSample],
        counts: Counts,
        tokens: int,
        advance: Callable[[int], object] = lambda _done: None,
    ) -> list[Path]:
        """The path of every block."""
        paths: list[Path] = []
        for block in block_paths(
            self.loaded,
            choose(texts, tokens=tokens, dense_prefix=self.dense_prefix, seed=self.settings.seed),
            counts,
            bins=self.bins,
            criterion=self.criterion,
            stop=max(self.targets),
            step=self.settings.greedy_step,
            dense_prefix=self.dense_prefix,
            budget=self.settings.batch,
            is_lazy=self.settings.is_lazy,
        ):
            paths.append(block.path)
            advance(1)
        return paths

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


class _Kept(dict[str, Any]):
    """A store in memory: nothing of a calibration outlives it."""

    put = dict[str, Any].__setitem__
