"""`wina_amp.allocation.greedy.advance`: a product at the next step, and at a hundred steps one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wina_amp.allocation.greedy.advance import advance, newly_masked

SHAPES = [(1, 1, 1), (3, 7, 5), (5, 8, 3), (4, 33, 17), (2, 100, 64)]
MASKS = 100
ROUNDING = 1e-6
"""Relative to the largest sum of magnitudes: float32 sums of up to 100 terms, and as many subtractions."""


def _setting(tokens, features, outputs, masks=MASKS):
    rng = np.random.default_rng(tokens * features)
    x = torch.from_numpy(rng.normal(size=(tokens, features)).astype(np.float32))
    weight = torch.from_numpy(rng.normal(size=(features, outputs)).astype(np.float32))
    cutoffs = torch.from_numpy(np.sort(np.abs(rng.normal(size=(masks, features))), axis=0).astype(np.float32))
    return x, weight, cutoffs


def _product(x, cutoff, weight):
    return (x * (x.abs() > cutoff)).double() @ weight.double()


def _close(y, x, cutoff, weight):
    scale = (x.abs().double() @ weight.abs().double()).max()
    assert (y - _product(x, cutoff, weight)).abs().max() <= ROUNDING * scale


@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_advanced_by_any_number_of_steps(shape) -> None:
    x, weight, cutoffs = _setting(*shape)
    for lower, upper in ((0, 1), (3, 3), (10, 90), (0, MASKS - 1)):
        y = _product(x, cutoffs[lower], weight).float()
        advance(y, x, cutoffs[lower], cutoffs[upper], weight, torch.zeros(shape[2]))
        _close(y, x, cutoffs[upper], weight)


@pytest.mark.parametrize("shape", SHAPES)
def test_rounding_does_not_pile_up_over_a_whole_search(shape) -> None:
    x, weight, cutoffs = _setting(*shape)
    y = _product(x, cutoffs[0], weight).float()
    for lower in range(MASKS - 1):
        advance(y, x, cutoffs[lower], cutoffs[lower + 1], weight, torch.zeros(shape[2]))
    _close(y, x, cutoffs[-1], weight)


def test_a_feature_at_the_lower_cutoff_is_masked_already_and_one_at_the_upper_is_newly_masked() -> None:
    x = torch.tensor([[1.0, -1.0, 2.0, -2.0, 3.0]])
    before, after = torch.full((5,), 1.0), torch.full((5,), 2.0)
    assert newly_masked(x, before, after) == 2
    y = torch.zeros(1, 5)
    advance(y, x, before, after, torch.eye(5), torch.zeros(5))
    assert y.tolist() == [[0, 0, -2, 2, 0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_newly_masked_counts_what_one_mask_has_and_the_other_has_not(shape) -> None:
    x, _, cutoffs = _setting(*shape)
    kept = [(x.abs() > cutoffs[step]).sum() for step in (20, 70)]
    assert newly_masked(x, cutoffs[20], cutoffs[70]) == kept[0] - kept[1]


def test_shapes_that_do_not_fit_are_refused() -> None:
    x, weight, cutoffs = _setting(3, 7, 5)
    with pytest.raises(ValueError, match=r"x \(3, 7\), weight \(7, 5\), y \(3, 4\) do not fit"):
        advance(torch.zeros(3, 4), x, cutoffs[0], cutoffs[1], weight, torch.zeros(4))


def test_a_token_that_keeps_nothing_gets_the_bias_to_the_last_bit() -> None:
    x, weight, cutoffs = _setting(4, 33, 17)
    bias = torch.linspace(-1, 1, 17)
    everything = torch.full((33,), 100.0)
    x[1, 5] = 200.0
    y = (_product(x, cutoffs[0], weight) + bias).float()
    advance(y, x, cutoffs[0], everything, weight, bias)
    assert torch.equal(y[[0, 2, 3]], bias.expand(3, -1))
    torch.testing.assert_close(y[1], 200.0 * weight[5] + bias)
