"""`wina_amp.decode.packed_weights`: what is stored stands for the matrix, within what its format rounds."""

from __future__ import annotations

import pytest
import torch

from wina_amp.decode.packed_weights import pack, unpacked

WEIGHT = torch.randn(70, 90, generator=torch.Generator().manual_seed(0))


def test_bfloat16_is_rounded_to_the_nearest_and_takes_half_the_bytes():
    rows = pack(WEIGHT, "bfloat16")
    assert rows.shape == (90, 70) and rows.flags.c_contiguous and rows.nbytes == WEIGHT.nbytes // 2
    assert torch.equal(unpacked(rows), WEIGHT.bfloat16().float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["copy", "replace"])
def test_a_models_own_numbers_are_kept_and_input_major_ones_are_not_copied(weights, dtype: torch.dtype):
    weight = WEIGHT.to(dtype)
    assert torch.equal(unpacked(pack(weight, weights)), weight.float())
    laid_out = weight.t().contiguous().t()
    assert pack(laid_out, weights).ctypes.data == laid_out.data_ptr()
