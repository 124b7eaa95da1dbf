"""`wina_amp.histograms.thresholds`: the masked fraction is the sparsity asked for, and sparsity 0 masks nothing that
matters."""

from __future__ import annotations

import numpy as np
import pytest

from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds

BINS = Bins(4)


def scores(kind: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    return {
        "half normal": np.abs(rng.normal(0, 1, 5000)),
        "log-normal": rng.lognormal(-3, 2, 5000),
        "one third zero": np.where(rng.random(5000) < 1 / 3, 0, rng.random(5000)),
    }[kind].astype(np.float32)


@pytest.mark.parametrize("kind", ["half normal", "log-normal", "one third zero"])
def test_the_masked_fraction_is_the_sparsity_up_to_the_scores_of_one_bin(kind: str) -> None:
    values = scores(kind)
    counts = BINS.histogram(values)
    asked = np.array([0.35, 0.5, 0.65, 0.9])
    limits = thresholds(BINS, counts, asked)
    assert limits.dtype == np.float32
    masked = (values[None, :] <= limits[:, None]).mean(axis=1)
    fullest = counts[1:].max() / counts.sum()  # the threshold lies in the bin of the exact quantile
    assert np.all(np.abs(masked - asked) <= fullest)


def test_sparsity_zero_masks_only_zeros_and_sparsity_one_masks_everything() -> None:
    values = scores("half normal")
    low, high = thresholds(BINS, BINS.histogram(values), np.array([0.0, 1.0]))
    assert low == 0 and not (values[values > 0] <= low).any() and (values <= high).all()
