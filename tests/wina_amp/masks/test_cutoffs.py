"""`wina_amp.masks.cutoffs`: comparing magnitudes decides exactly as comparing scores does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wina_amp.masks.cutoffs import cutoffs
from wina_amp.scoring.criteria import scores


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e4])
def test_the_cutoff_is_the_last_masked_magnitude(scale: float):
    draw = torch.Generator().manual_seed(0)
    weights = torch.rand(500, generator=draw) * scale
    thresholds = torch.rand(7, generator=draw) * scale
    limits = cutoffs(weights, thresholds)
    above = torch.from_numpy(np.nextafter(limits.numpy(), np.float32(np.inf)))
    assert limits.shape == (7, 500)
    assert (scores(limits, weights) <= thresholds[:, None]).all()
    assert (scores(above, weights) > thresholds[:, None]).all()


def test_a_threshold_of_zero_cuts_only_what_scores_zero():
    assert cutoffs(torch.tensor([2.0, 1.0]), torch.zeros(1)).tolist() == [[0.0, 0.0]]


def test_a_feature_without_weight_is_masked_at_every_finite_magnitude():
    largest = torch.finfo(torch.float32).max
    assert cutoffs(torch.zeros(1), torch.zeros(1)).item() == largest
