"""`wina_amp.decode.packed_weights`: what is stored stands for the matrix, within what its format rounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from wina_amp.decode import packed_weights
from wina_amp.decode.packed_weights import GROUP, pack
from wina_amp.errors import UserError

OUTLIERS = ("none", "an input", "an output", "zeros")


def _weight(outlier: str, outputs: int = 70, inputs: int = 90) -> torch.Tensor:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(0))
    if outlier == "an input":
        weight[:, 3] *= 1000
    if outlier == "an output":
        weight[3] *= 1000
    if outlier == "zeros":
        weight[3], weight[:, 5] = 0, 0
    return weight


def _transcribed(weight: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows before rounding and scales of int8, weight by weight in float64."""
    matrix = weight.double().numpy()
    outputs, inputs = matrix.shape
    of_output = np.array([math.sqrt(sum(value**2 for value in row) / inputs) or 1.0 for row in matrix])
    of_group, rows = np.empty((inputs, 3)), np.zeros((inputs, 3, GROUP))
    for i in range(inputs):
        for g in range(3):
            members = range(g * GROUP, min((g + 1) * GROUP, outputs))
            largest = max(abs(matrix[o, i]) / of_output[o] for o in members)
            of_group[i, g] = torch.tensor(largest / 127 or 1.0).bfloat16().item()
            for o in members:
                rows[i, g, o % GROUP] = matrix[o, i] / of_output[o] / of_group[i, g]
    return rows, of_group, of_output


@pytest.mark.parametrize("outlier", OUTLIERS)
@pytest.mark.parametrize("part", [GROUP, 4096])
def test_int8_is_the_transcription_whatever_is_packed_at_a_time(
    outlier: str, part: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packed_weights, "_ROWS", part)
    weight = _weight(outlier)
    packed = pack(weight, "int8")
    rows, of_group, of_output = _transcribed(weight)
    assert packed.rows.dtype == np.int8 and packed.rows.flags.c_contiguous
    assert np.abs(packed.rows - rows).max() <= 0.5 + 1e-4  # half a unit, and what float32 moves
    assert np.array_equal(torch.from_numpy(packed.group_scale).view(torch.bfloat16).double(), of_group)
    np.testing.assert_allclose(packed.output_scale, of_output, rtol=1e-6)


@pytest.mark.parametrize("outlier", OUTLIERS)
def test_int8_is_off_by_half_a_unit_and_an_outlier_costs_its_own_row_or_column_alone(outlier: str):
    weight = _weight(outlier)
    packed = pack(weight, "int8")
    of_group = torch.from_numpy(packed.group_scale).view(torch.bfloat16).float().repeat_interleave(GROUP, dim=1)
    unit = of_group[:, : len(weight)].t() * torch.from_numpy(packed.output_scale)[:, None]
    assert ((packed.unpacked() - weight).abs() <= 0.5001 * unit).all()
    assert unit.median() < 4 * weight.abs().median() / 50
    assert (packed.unpacked()[weight == 0] == 0).all()


def test_bfloat16_is_rounded_to_the_nearest_and_takes_half_the_bytes():
    weight = _weight("none")
    packed = pack(weight, "bfloat16")
    assert torch.equal(packed.unpacked(), weight.bfloat16().float())
    assert packed.rows.nbytes == weight.nbytes // 2


def test_int8_takes_eight_and_a_half_bits_a_weight_and_a_number_an_output():
    weight = torch.ones(2 * GROUP, 10)
    assert pack(weight, "int8").nbytes == weight.numel() * 8.5 / 8 + 4 * 2 * GROUP


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("weights", ["copy", "replace"])
def test_a_models_own_numbers_are_kept_and_input_major_ones_are_not_copied(weights, dtype: torch.dtype):
    weight = _weight("none").to(dtype)
    assert torch.equal(pack(weight, weights).unpacked(), weight.float())
    laid_out = weight.t().contiguous().t()
    assert pack(laid_out, weights).rows.ctypes.data == laid_out.data_ptr()


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_no_number_is_refused_as_int8(value: float):
    weight = _weight("none")
    weight[2, 3] = value
    with pytest.raises(UserError, match=r"must be finite to be stored as int8\. Found: .* 90 inputs and 70 outputs"):
        pack(weight, "int8")
