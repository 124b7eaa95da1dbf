"""Inputs of the loss of `kl` allocation and its gradients: a model, texts, and the histograms of its thresholds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from jaxtyping import Int
from numpy import ndarray

from wina_amp.allocation.calibration.cost import Meter
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.samples import TokenizedSample


@dataclass(frozen=True)
class LossInputs:
    """Everything that a loss depends on besides the allocation.

    Attributes:
        loaded: the dense model.
        texts: calibration texts.
        counts: score histogram of every (block, projection) for this criterion.
        bins: the bins they were counted in.
        criterion: how features are scored.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a batch, padding included.
        meter: counts every loss.
    """

    loaded: LoadedModel
    texts: Sequence[TokenizedSample]
    counts: Mapping[tuple[int, str], Int[ndarray, " count"]]
    bins: Bins
    criterion: str
    dense_prefix: int | float
    budget: int
    meter: Meter = field(default_factory=Meter)

    def on(self, texts: Sequence[TokenizedSample]) -> Self:
        """The same on other texts."""
        return replace(self, texts=texts)

    @property
    def mean_length(self) -> float:
        """Tokens of a text, on average."""
        return sum(text.length for text in self.texts) / len(self.texts)
