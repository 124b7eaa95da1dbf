"""Thresholds on scores as cutoffs on magnitudes: the same decisions without a multiplication per feature and token.

For a fixed weight w >= 0 the float32 score `|x| * w` grows with |x|, so there is one largest magnitude c whose score
does not exceed the threshold t, and for every finite x

    |x| * w <= t   <=>   |x| <= c            (exactly: both sides of the same rounding)

c is found by bisection on the bit patterns of the non-negative floats, whose order is that of their values. Dividing t
by w instead would be wrong in the last bit now and then.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_LARGEST = 0x7F7FFFFF
"""Bit pattern of the largest finite float32."""


def cutoffs(weights: Float[Tensor, " in"], thresholds: Float[Tensor, " groups"]) -> Float[Tensor, "groups in"]:
    """The largest magnitude that every feature may have and still be masked, per group, in float32.

    Args:
        weights: factor of every feature, float32, not negative.
        thresholds: one per group, float32, not negative.

    Guarantee: for every float32 x that is not NaN or infinite, `|x| <= cutoff` equals `|x| * weight <= threshold`.
    """
    scale, limit = weights.float()[None, :], thresholds.float()[:, None]
    low = torch.zeros(limit.shape[0], scale.shape[1], dtype=torch.int32, device=weights.device)
    high = torch.full_like(low, _LARGEST)
    for _ in range(31):
        middle = low + (high - low + 1) // 2
        masked = middle.view(torch.float32) * scale <= limit
        low = torch.where(masked, middle, low)
        high = torch.where(masked, high, middle - 1)
    return low.view(torch.float32)
