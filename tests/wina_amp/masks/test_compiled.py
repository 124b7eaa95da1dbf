"""`wina_amp.masks.compiled`: without numba, masks are computed by tensor operations, with the same bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from wina_amp.masks import compiled, reference, topk


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("has_numba", [True, False])
def test_masks_are_the_same_bits_with_and_without_numba(
    has_numba: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reference, "HAS_NUMBA", has_numba)
    draw = torch.Generator().manual_seed(0)
    x, cutoffs = torch.randn(2, 3, 8, generator=draw).to(dtype), torch.rand(2, 8, generator=draw)
    groups, eligible = torch.tensor([1, 0]), torch.tensor([[False, True, True]] * 2)
    kept = torch.zeros(2, dtype=torch.int64)
    masked = reference.mask(x, cutoffs, groups, eligible, kept)
    expected = torch.where((x.abs() <= cutoffs[groups][:, None]) & eligible[:, :, None], 0.0, x)
    assert reference.is_compiled(x) == (has_numba and dtype == torch.float32)
    assert torch.equal(masked, expected) and kept.tolist() == (expected[:, 1:] != 0).sum(dim=(1, 2)).tolist()

    kept.zero_()
    masked = topk.mask(x, torch.ones(8), torch.tensor([3, 2]), 3, groups, eligible, kept)
    assert kept.tolist() == [4, 6] and (masked[:, 1:] != 0).sum(dim=2).tolist() == [[2, 2], [3, 3]]


def test_without_numba_a_function_stays_what_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compiled, "HAS_NUMBA", False)
    assert compiled.njit(nogil=True)(abs) is abs


@pytest.mark.tried("errors", "right")
def test_where_no_cache_can_be_written_functions_are_compiled_without(monkeypatch: pytest.MonkeyPatch):
    def njit(cache: bool = False, **options: bool) -> Callable[[object], object]:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: (function, options)

    monkeypatch.setattr("numba.njit", njit)
    assert compiled.njit(nogil=True)(abs) == (abs, {"nogil": True})
