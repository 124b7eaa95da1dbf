"""`wina_amp.masks.reference`: the fast masks give the bits and counts of the transcription."""

from __future__ import annotations

import pytest
import torch

from tests.reference.sparse import threshold_mask
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.reference import is_compiled, mask


def _case(dtype: torch.dtype, batch: int = 5, width: int = 11, features: int = 37):
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(batch, width, features, generator=draw).to(dtype)
    weights = torch.rand(features, generator=draw)
    thresholds = torch.tensor([0.1, 0.0, 0.6])
    groups = torch.tensor([0, 2, 1, 2, 0])[:batch]
    lengths = torch.tensor([11, 7, 3, 1, 10])[:batch]
    return x, weights, thresholds, groups, eligible(lengths, lengths, width, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_masks_and_counts_equal_the_transcription(dtype: torch.dtype):
    x, weights, thresholds, groups, counted = _case(dtype)
    if dtype == torch.float64:  # scores are float32, so float64 inputs must be representable there
        x = x.float().double()
    kept = torch.zeros(5, dtype=torch.int64)
    masked = mask(x, cutoffs(weights, thresholds), groups, counted, kept)
    wanted, wanted_kept = threshold_mask(x, weights, thresholds[groups], counted)
    assert masked.dtype == dtype
    assert torch.equal(masked, wanted)
    assert torch.equal(kept, wanted_kept)


def test_scores_that_equal_the_threshold_are_masked():
    x = torch.tensor([[[0.3, -0.3, 0.30000004]]])
    weights = torch.ones(3)
    kept = torch.zeros(1, dtype=torch.int64)
    table, group = cutoffs(weights, torch.tensor([0.3])), torch.zeros(1, dtype=torch.int64)
    masked = mask(x, table, group, torch.ones(1, 1).bool(), kept)
    assert masked.tolist() == [[[0.0, 0.0, x[0, 0, 2].item()]]]
    assert kept.tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_and_infinity_are_kept_so_that_they_cannot_vanish(dtype: torch.dtype):
    x = torch.tensor([[[float("nan"), float("inf"), 0.1]]], dtype=dtype)
    table = cutoffs(torch.ones(3), torch.tensor([10.0]))
    kept = torch.zeros(1, dtype=torch.int64)
    masked = mask(x, table, torch.zeros(1, dtype=torch.int64), torch.ones(1, 1).bool(), kept)
    assert torch.isnan(masked[0, 0, 0]) and torch.isinf(masked[0, 0, 1]) and masked[0, 0, 2] == 0
    assert kept.tolist() == [2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cutoffs_between_two_numbers_of_a_16_bit_type_are_compared_as_in_float32(dtype: torch.dtype):
    """Every magnitude that is a number, against the cutoffs around it."""
    x = torch.arange(0x7C00 if dtype == torch.float16 else 0x7F80, dtype=torch.int16).view(dtype)
    exact = x.float()
    kept = torch.zeros(1, dtype=torch.int64)
    group, everything = torch.zeros(1, dtype=torch.int64), torch.ones(1, 1).bool()
    for near in (exact, exact * (1 + 2**-20), exact * (1 - 2**-20), exact.new_full(exact.shape, 3e38)):
        table = near.clamp(max=torch.finfo(torch.float32).max)[None]
        masked = mask(-x[None, None], table, group, everything, kept)
        assert torch.equal(masked[0, 0], torch.where(exact <= table[0], 0, -exact).to(dtype))


def test_counts_are_added_and_memory_is_reused_when_it_is_given():
    x, weights, thresholds, groups, counted = _case(torch.float32)
    table, out = cutoffs(weights, thresholds), torch.full((5, 11, 37), 7.0)
    kept = torch.full((5,), 100)
    masked = mask(x, table, groups, counted, kept, out)
    once = torch.zeros(5, dtype=torch.int64)
    assert masked.data_ptr() == out.data_ptr()
    assert torch.equal(masked, mask(x, table, groups, counted, once))
    assert torch.equal(kept, once + 100)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gradient_goes_through_what_is_kept(dtype: torch.dtype):
    x, weights, thresholds, groups, counted = _case(dtype)
    one_less = [torch.zeros(5, dtype=torch.int64) for _ in range(2)]
    plain = mask(x, cutoffs(weights, thresholds), groups, counted, one_less[0])
    masked = mask(x.requires_grad_(), cutoffs(weights, thresholds), groups, counted, one_less[1])
    masked.float().sum().backward()
    assert torch.equal(masked, plain) and torch.equal(*one_less)
    assert x.grad is not None and torch.equal(x.grad != 0, plain != 0)


def test_inputs_that_are_not_contiguous_give_the_same_mask():
    x, weights, thresholds, groups, counted = _case(torch.float32)
    strided = torch.stack([x, x], dim=-1)[..., 0]
    assert is_compiled(strided) and not strided.is_contiguous()
    table = cutoffs(weights, thresholds)
    first, second = torch.zeros(5, dtype=torch.int64), torch.zeros(5, dtype=torch.int64)
    assert torch.equal(mask(strided, table, groups, counted, first), mask(x, table, groups, counted, second))
