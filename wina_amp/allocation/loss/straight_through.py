"""Masks with a straight-through estimator: exact forward, with a derivative by the sparsity backward.

    y_i = x_i  where  score_i > t(s),  else 0                                  forward, as `wina_amp.masks.reference`

A step function has no useful derivative. Near the threshold t it is replaced, backward only, by a ramp over the BAND
from t / r to t r, straight in log score, which holds a fraction `width` of all scores. With g the derivative of the
loss by y:

    dL / ds    =  -1 / width  *  sum of g_i x_i  over the band
    dL / dx_i  =  g_i * (1 where y_i = x_i, else 0)  +  g_i / (2 log r)  in the band

The second term of dL / dx is what a changed input does to its own mask. Without it an error upstream seems cheaper than
it is, because it also flips masks downstream; descents that have it reach lower losses (docs/log.md). A feature's own
second-order term is in the sum: for features of the band that are kept, g does not see their absence, for those that
are masked it sees all of it, and half of the band is masked.

A feature's weight w_i moves its scores up the same ramp, and the threshold with them, which stays the score that a
fraction s does not exceed. With b_i the number of scores of feature i in the band, and b that of all features,

    dL / d log w_i  =  1 / (2 log r)  *  (sum of g_i x_i over the band  -  b_i / b * sum over all features)

On the CPU in float32 compiled kernels read every number once, each way (numba); elsewhere tensor operations do the
same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from wina_amp.masks.compiled import njit
from wina_amp.masks.reference import is_compiled

_DROPPED, _IN_BAND = 1, 2
"""Bits of a feature's state."""


@dataclass(frozen=True)
class Band:
    """A range of scores around the threshold of one projection.

    Attributes:
        below: t / r.
        limit: t.
        above: t r.
        width: fraction of all scores between `below` and `above`.
    """

    below: float
    limit: float
    above: float
    width: float

    @property
    def flips(self) -> float:
        """1 / log(above / below): how fast the ramp rises in log score; 0 for a band around score 0."""
        return 1 / math.log(self.above / self.below) if 0 < self.below < self.above else 0.0


def straight_through_mask(
    x: Float[Tensor, "batch width in"],
    shifts: Float[Tensor, " batch"],
    weights: Float[Tensor, " in"],
    eligible: Bool[Tensor, "batch width"],
    band: Band,
    log_factors: Float[Tensor, " in"] | None = None,
) -> Float[Tensor, "batch width in"]:
    """The masked input. Backward, x gets dL / dx, `shifts` dL / ds of every row, `log_factors` dL / d log w.

    Args:
        x: input of a projection.
        shifts: zeros added to the sparsity, one for every row; their values are not read.
        weights: factor of every feature's magnitude in its score, float32.
        eligible: tokens that may be masked.
        band: thresholds around the sparsity.
        log_factors: zeros added to the logarithms of `weights`, where their derivative is wanted; their values are not
            read.
    """
    return cast(Tensor, _StraightThroughMask.apply(x, shifts, weights, eligible, band, log_factors))


class _StraightThroughMask(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shifts: Tensor, weights: Tensor, eligible: Tensor, band: Band, log_factors: Tensor | None
    ) -> Tensor:
        masked, state = _forward(x, weights, eligible, band)
        ctx.save_for_backward(x, state)
        ctx.band, ctx.shifts = band, shifts.device
        return masked

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        x, state = ctx.saved_tensors
        by_x, totals = _backward(gradients[0], x, state, ctx.band.flips)
        by_weight = _by_weight(gradients[0], x, state, ctx.band.flips) if ctx.needs_input_grad[5] else None
        return by_x, (-totals / ctx.band.width).to(ctx.shifts), None, None, None, by_weight


def _forward(x: Tensor, weights: Tensor, eligible: Tensor, band: Band) -> tuple[Tensor, Tensor]:
    """The masked input, and the state of every feature."""
    if is_compiled(x):
        source = x.detach().contiguous()
        masked, state = torch.empty_like(source), torch.empty(source.shape, dtype=torch.uint8)
        limits = (np.float32(limit) for limit in (band.below, band.limit, band.above))
        _mask_rows(source.numpy(), weights.numpy(), eligible.numpy(), *limits, masked.numpy(), state.numpy())
        return masked, state
    score = torch.where(eligible[:, :, None], x.abs().float() * weights, torch.inf)
    dropped = score <= band.limit
    in_band = (score > band.below) & (score <= band.above)
    return x.masked_fill(dropped, 0), dropped * _DROPPED + in_band * _IN_BAND


def _backward(gradient: Tensor, x: Tensor, state: Tensor, flips: float) -> tuple[Tensor, Tensor]:
    """dL / dx, and every row's sum of g x over the band."""
    if is_compiled(gradient):
        by_x = torch.empty(x.shape, dtype=x.dtype)
        arrays = (tensor.detach().contiguous().numpy() for tensor in (gradient, x, state))
        totals = torch.empty(len(x), dtype=torch.float32)
        _spread_rows(*arrays, np.float32(flips), by_x.numpy(), totals.numpy())
        return by_x, totals
    in_band = torch.where(state >= _IN_BAND, gradient, 0)
    totals = (in_band.float() * x.float()).sum(dim=(1, 2))
    return torch.where(state % 2 == _DROPPED, 0, gradient) + flips * in_band, totals


def _by_weight(gradient: Tensor, x: Tensor, state: Tensor, flips: float) -> Float[Tensor, " in"]:
    """dL / d log w of every feature, float32."""
    if is_compiled(gradient):
        own, count = torch.zeros(x.shape[-1]), torch.zeros(x.shape[-1])
        arrays = (tensor.detach().contiguous().numpy() for tensor in (gradient, x, state))
        _add_rows(*arrays, own.numpy(), count.numpy())
    else:
        in_band = state >= _IN_BAND
        own = torch.where(in_band, gradient.float() * x.float(), 0).sum(dim=(0, 1))
        count = in_band.sum(dim=(0, 1)).float()
    return flips * (own - count / count.sum().clamp(min=1) * own.sum())


@njit(nogil=True)
def _mask_rows(
    x: NDArray[np.float32],
    weights: NDArray[np.float32],
    eligible: NDArray[np.bool_],
    below: np.float32,
    limit: np.float32,
    above: np.float32,
    masked: NDArray[np.float32],
    state: NDArray[np.uint8],
) -> None:
    rows, width, features = x.shape
    for row in range(rows):
        for token in range(width):
            if not eligible[row, token]:
                for feature in range(features):
                    masked[row, token, feature] = x[row, token, feature]
                    state[row, token, feature] = 0
                continue
            for feature in range(features):
                value = x[row, token, feature]
                score = abs(value) * weights[feature]
                is_dropped = score <= limit
                is_in_band = (score > below) & (score <= above)
                masked[row, token, feature] = np.float32(0) if is_dropped else value
                state[row, token, feature] = np.uint8(is_dropped) + np.uint8(2) * np.uint8(is_in_band)


@njit(nogil=True, fastmath={"reassoc", "nsz"})
def _spread_rows(
    gradient: NDArray[np.float32],
    x: NDArray[np.float32],
    state: NDArray[np.uint8],
    flips: np.float32,
    by_x: NDArray[np.float32],
    totals: NDArray[np.float32],
) -> None:
    rows, width, features = x.shape
    for row in range(rows):
        total = 0.0
        for token in range(width):
            part = np.float32(0)
            for feature in range(features):
                incoming = gradient[row, token, feature]
                kind = state[row, token, feature]
                in_band = incoming if kind >= 2 else np.float32(0)
                part += in_band * x[row, token, feature]
                by_x[row, token, feature] = (np.float32(0) if kind & 1 else incoming) + flips * in_band
            total += float(part)
        totals[row] = np.float32(total)


@njit(nogil=True)
def _add_rows(
    gradient: NDArray[np.float32],
    x: NDArray[np.float32],
    state: NDArray[np.uint8],
    own: NDArray[np.float32],
    count: NDArray[np.float32],
) -> None:
    rows, width, features = x.shape
    for row in range(rows):
        for token in range(width):
            for feature in range(features):
                is_in_band = state[row, token, feature] >= 2
                incoming = gradient[row, token, feature] if is_in_band else np.float32(0)
                own[feature] += incoming * x[row, token, feature]
                count[feature] += np.float32(1) if is_in_band else np.float32(0)
