"""Thresholds and magnitude cutoffs of every projection, at any sparsity.

Thresholds come from a group's own score histograms, and masks compare exactly as those that will run
(`wina_amp.masks.cutoffs`). Searches ask for the same few sparsities again and again; a few of each are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.projections import Projection
from wina_amp.scoring.criteria import projection_weights


class Limits:
    """Thresholds and cutoffs of every projection at any sparsity.

    Args:
        projections: of the model.
        counts: score histogram of every (block, projection) for this criterion.
        bins: the bins they were counted in.
        criterion: how features are scored.

    Attributes:
        weights: factor of every feature's magnitude in its score, per projection.
        cutoffs: (number of a projection, sparsity) -> the threshold in magnitudes of every feature, `[1, in]`, float32,
            on the projection's device.
    """

    def __init__(
        self,
        projections: Sequence[Projection],
        counts: Mapping[tuple[int, str], Int[ndarray, " count"]],
        *,
        bins: Bins,
        criterion: str,
    ) -> None:
        self.weights = [projection_weights(criterion, p) for p in projections]
        self._counts = [counts[p.block, p.name] for p in projections]
        self._bins = bins
        self.cutoffs = lru_cache(maxsize=8 * len(projections))(self._cutoffs)

    def threshold(self, number: int, sparsity: float) -> float:
        """The score up to which projection `number` is masked, a float32."""
        return float(thresholds(self._bins, self._counts[number], np.array(sparsity)).item())

    def sparsity(self, number: int, threshold: float) -> float:
        """The fraction of projection `number`'s scores that a threshold masks."""
        return float(self._bins.fraction_at_or_below(self._counts[number], np.array(threshold)))

    def _cutoffs(self, number: int, sparsity: float) -> Float[Tensor, "one in"]:
        weights = self.weights[number]
        limit = torch.tensor([self.threshold(number, sparsity)], dtype=torch.float32, device=weights.device)
        return cutoffs(weights, limit)
