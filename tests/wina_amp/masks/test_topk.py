"""`wina_amp.masks.topk`: exactly k whatever the scores, ties by index, and both ways the bits of the transcription."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.reference.sparse import topk_mask
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.topk import kept_features, mask

BATCH, WIDTH, FEATURES = 5, 11, 37
SPARSITY = ("0", "2/5", "9/10", "1")
GROUPS = torch.tensor([1, 2, 3, 0, 1])
LENGTHS = torch.tensor([11, 7, 3, 1, 10])
COUNTED = eligible(LENGTHS, LENGTHS, WIDTH, 2)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def _inputs(kind: str, dtype: torch.dtype) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    normal = torch.randn(BATCH, WIDTH, FEATURES, generator=draw)
    values = {
        "normal": normal,
        "ties": normal.sign() * normal.abs().round(decimals=0),
        "equal": normal.sign(),
        "zeros": torch.zeros_like(normal) * normal,  # of both signs
        "mostly zero": normal * (normal > 1),
        "huge and tiny": normal * 10.0 ** torch.randint(-30, 30, normal.shape, generator=draw),
        "infinite": torch.where(normal > 0.5, torch.inf * normal.sign(), normal),
    }[kind]
    return values.to(dtype)


KINDS = ("normal", "ties", "equal", "zeros", "mostly zero", "huge and tiny", "infinite")


def _weights(kind: str) -> torch.Tensor:
    return torch.ones(FEATURES) if kind in ("ties", "equal") else torch.rand(FEATURES) + 0.5


def _masked(x: torch.Tensor, weights: torch.Tensor, sparsity: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    keep = kept_features(x.shape[2], sparsity)
    kept = torch.zeros(len(x), dtype=torch.int64)
    return mask(x, weights, torch.tensor(keep), max(keep), GROUPS, COUNTED, kept), kept


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_masks_and_counts_equal_the_transcription_and_exactly_k_are_kept(kind: str, dtype: torch.dtype):
    x, weights = _inputs(kind, dtype), _weights(kind)
    exact = [Fraction(text) for text in SPARSITY]
    masked, kept = _masked(x, weights, [float(value) for value in exact])
    wanted, wanted_kept = topk_mask(x, weights, [exact[group] for group in GROUPS], COUNTED)
    assert masked.dtype == dtype
    assert torch.equal(masked, wanted)
    k = torch.tensor([37, 22, 3, 0])[GROUPS]
    assert kept.tolist() == wanted_kept == (k * COUNTED.sum(dim=1)).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_compiled_kernel_gives_the_bits_of_the_tensor_operations(kind: str):
    # float64 of float32 numbers takes the other way.
    x, weights = _inputs(kind, torch.float32), _weights(kind)
    compiled, kept = _masked(x, weights, [0.3, 0.5, 0.65, 0.1])
    tensors, counted = _masked(x.double(), weights, [0.3, 0.5, 0.65, 0.1])
    assert torch.equal(compiled.view(torch.int32), tensors.float().view(torch.int32))
    assert torch.equal(kept, counted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sparsity_0_keeps_everything_and_sparsity_1_nothing_of_eligible_tokens(dtype: torch.dtype):
    x = _inputs("normal", dtype)
    same, _ = _masked(x, _weights("normal"), [0.0] * 4)
    assert torch.equal(same, x)
    gone, kept = _masked(x, _weights("normal"), [1.0] * 4)
    assert not gone[COUNTED].any() and torch.equal(gone[~COUNTED], x[~COUNTED]) and not kept.any()


def test_equal_scores_are_kept_from_the_lowest_feature_on():
    x = torch.ones(BATCH, WIDTH, FEATURES)
    masked, _ = _masked(x, torch.ones(FEATURES), [0.4] * 4)
    assert (masked[COUNTED] == (torch.arange(FEATURES) < 22).float()).all()


def test_k_is_the_floor_of_the_exact_product_for_every_sparsity_a_user_may_write():
    for features in (1, 5, 10, 48, 192, 256, 896, 28672):
        texts = [f"{number / 1000:.3f}" for number in range(1001)]
        exact = [int(features * (1 - Fraction(text))) for text in texts]
        assert kept_features(features, [float(text) for text in texts]) == exact
    # A sum of greedy steps carries more rounding than a literal.
    assert kept_features(10, [float(np.sum([0.1] * 9)), 1 - 1e-12]) == [1, 0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_is_kept_in_addition_and_ranks_above_infinity(dtype: torch.dtype):
    x = torch.tensor([[[1.0, float("nan"), float("inf"), float("nan"), 2.0]]], dtype=dtype)
    for k, number in ((0, 2), (1, 2), (2, 2), (3, 3), (4, 4)):
        kept = torch.zeros(1, dtype=torch.int64)
        one = torch.ones(1, 1).bool()
        masked = mask(x, torch.ones(5), torch.tensor([k]), k, torch.zeros(1, dtype=torch.int64), one, kept)
        assert masked.isnan().sum() == 2 and kept.tolist() == [number]
        assert bool(masked.isinf().any()) == (k >= 3) and (masked[0, 0, 4] != 0).item() == (k >= 4)


def test_counts_are_added_and_memory_is_reused_when_it_is_given():
    x, weights = _inputs("normal", torch.float32), _weights("normal")
    keep = torch.tensor([22, 22, 22, 22])
    out, kept = torch.full(x.shape, 7.0), torch.full((BATCH,), 100)
    masked = mask(x, weights, keep, 22, GROUPS, COUNTED, kept, out)
    once = torch.zeros(BATCH, dtype=torch.int64)
    assert masked.data_ptr() == out.data_ptr()
    strided = torch.stack([x, x], dim=-1)[..., 0]
    assert torch.equal(masked, mask(strided, weights, keep, 22, GROUPS, COUNTED, once))
    assert torch.equal(kept, once + 100)
