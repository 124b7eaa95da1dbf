"""`wina_amp.allocation.loss.straight_through`: exact masks forward, the ramp's derivative backward, by either
implementation."""

from __future__ import annotations

import pytest
import torch

from tests.reference.gradients import ramp_mask
from wina_amp.allocation.loss import straight_through as module
from wina_amp.allocation.loss.straight_through import Band, straight_through_mask
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.masks.reference import mask

BAND = Band(below=0.4, limit=0.54, above=0.73, width=0.2)
ROUNDING = 2e-5
"""Relative: float32 sums of thousands of products, in another order."""
SHAPES = [(1, 1, 1), (3, 7, 5), (2, 33, 48)]


def _inputs(shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(dtype)
    eligible = torch.rand(shape[:2], generator=generator) > 0.2
    return (
        x,
        torch.rand(shape[-1], generator=generator) + 0.2,
        eligible,
        torch.randn(shape, generator=generator).to(dtype),
    )


def _gradients(x, weights, eligible, gradient, band=BAND):
    x = x.clone().requires_grad_()
    shifts = torch.zeros(len(x), requires_grad=True)
    masked = straight_through_mask(x, shifts, weights, eligible, band)
    masked.backward(gradient)
    return masked.detach(), x.grad, shifts.grad


@pytest.mark.parametrize("shape", SHAPES)
def test_the_value_is_that_of_the_reference_mask(shape):
    x, weights, eligible, gradient = _inputs(shape)
    rows = torch.zeros(shape[0], dtype=torch.int64)
    expected = mask(x, cutoffs(weights, torch.tensor([BAND.limit])), rows, eligible, torch.zeros_like(rows))
    assert torch.equal(_gradients(x, weights, eligible, gradient)[0], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_derivatives_are_those_of_a_ramp_over_the_band(shape):
    x, weights, eligible, gradient = _inputs(shape)
    _, by_x, by_row = _gradients(x, weights, eligible, gradient)
    slow = x.clone().requires_grad_()
    shifts = torch.zeros(len(x), requires_grad=True)
    ramp_mask(slow, shifts[:, None, None], weights, eligible[:, :, None], BAND).backward(gradient)
    torch.testing.assert_close(by_x, slow.grad, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(by_row, shifts.grad, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("is_compiled", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_derivative_by_a_weight_is_that_of_the_ramp_less_what_the_threshold_makes_up_for(
    shape, is_compiled, monkeypatch
):
    x, weights, eligible, gradient = _inputs(shape)
    monkeypatch.setattr(module, "is_compiled", lambda _x: is_compiled)
    log_factors, shifts = torch.zeros(shape[-1], requires_grad=True), torch.zeros(shape[0], requires_grad=True)
    straight_through_mask(x, shifts, weights, eligible, BAND, log_factors).backward(gradient)
    logs = torch.zeros(shape[-1], requires_grad=True)
    zero = torch.zeros(shape[0], 1, 1)
    ramp_mask(x, zero, weights * logs.exp(), eligible[:, :, None], BAND).backward(gradient)
    score = x.abs() * weights
    in_band = (score > BAND.below) & (score <= BAND.above) & eligible[:, :, None]
    count = in_band.sum(dim=(0, 1)).float()
    expected = logs.grad - count / max(1.0, float(count.sum())) * logs.grad.sum()
    torch.testing.assert_close(log_factors.grad, expected, rtol=1e-4, atol=1e-4)
    total = abs(float(log_factors.grad.sum()))
    assert total <= 1e-4 * float(logs.grad.abs().sum() + 1)  # a common factor changes nothing


@pytest.mark.parametrize("shape", SHAPES)
def test_the_compiled_kernels_do_what_the_tensor_operations_do(shape, monkeypatch):
    inputs = _inputs(shape)
    compiled = _gradients(*inputs)
    monkeypatch.setattr(module, "is_compiled", lambda _x: False)
    masked, by_x, by_row = _gradients(*inputs)
    assert torch.equal(compiled[0], masked) and torch.equal(compiled[1], by_x)
    torch.testing.assert_close(compiled[2], by_row, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_dtype_and_masks_the_same_features(dtype):
    x, weights, eligible, gradient = _inputs((2, 9, 16), dtype)
    masked, by_x, by_row = _gradients(x, weights, eligible, gradient)
    assert masked.dtype == by_x.dtype == dtype and by_row.dtype == torch.float32
    assert torch.equal(masked == 0, _gradients(x.float(), weights, eligible, gradient.float())[0] == 0)


def test_a_band_around_zero_lets_no_mask_move():
    x, weights, eligible, gradient = _inputs((2, 5, 8))
    masked, by_x, by_row = _gradients(x, weights, eligible, gradient, Band(0.0, 0.0, 0.0, 1e-3))
    assert torch.equal(masked, x) and torch.equal(by_x, gradient) and (by_row == 0).all()


def test_nan_is_kept_so_that_it_shows():
    x, weights, eligible, gradient = _inputs((2, 5, 8))
    x[0, 0, 0] = torch.nan
    assert _gradients(x, weights, eligible, gradient)[0].isnan().sum() == 1
