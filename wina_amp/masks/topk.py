"""Exact per-token top-k: the same mask as `wina_amp.masks.reference`, chosen by rank instead of by a threshold.

    x'_i = 0 if the token is eligible and score_i is not among its k largest scores, else x_i
    k    = floor(d_in * (1 - s))                       s: the sparsity that a profile gives to the projection

(the published code: `k = int(in_features * (1 - sparsity))`). Every eligible token keeps exactly k features, so the
sparsity is met whatever the input; a threshold meets it on average over the calibration data only. Ranking a token's
scores costs more than comparing them, which is why thresholds are what is deployed and this is the control.

Of equal scores, those of lower features are kept first. Scores are non-negative float32, so their bit patterns are
ordered as they are, and the k-th largest is found without sorting: on the CPU in float32 by bisection over the patterns
(at most 31 passes over one token's scores, in cache; 1.3 us per token of 192 features, 7 times faster than the tensor
operations), elsewhere by `Tensor.topk`. Both decide the same, bit for bit. k is known per group on the host, so a batch
may mix groups without the host waiting for the device.

A NaN ranks above every number and is kept even where k is smaller than the number of NaN, so that it reaches the output
and is refused there (see `wina_amp.masks.reference`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int32
from numpy.typing import NDArray
from torch import Tensor

from wina_amp.masks.compiled import njit
from wina_amp.masks.reference import is_compiled
from wina_amp.scoring.criteria import scores

ROUNDING = 1e-6
"""Features. Sparsities are float64 sums and quotients: 10 * (1 - 0.9) must be 1, not 0.9999999999999998."""

_INFINITY = 0x7F800000
"""Bit pattern of infinity; those of NaN are above it."""
_MAGNITUDE = 0x7FFFFFFF
"""Clears the sign, which a NaN may carry."""


def kept_features(features: int, sparsity: Sequence[float]) -> list[int]:
    """k of every group: floor(features * (1 - sparsity)), up to `ROUNDING` of a feature."""
    return [math.floor(features * (1 - value) + ROUNDING) for value in sparsity]


def mask(
    x: Float[Tensor, "batch width in"],
    weights: Float32[Tensor, " in"],
    keep: Int[Tensor, " groups"],
    most: int,
    groups: Int[Tensor, " batch"],
    eligible: Bool[Tensor, "batch width"],
    kept: Int[Tensor, " batch"],
    out: Float[Tensor, "batch width in"] | None = None,
) -> Float[Tensor, "batch width in"]:
    """Zero all but the k largest scores of every eligible token, k being that of the row's group.

    Args:
        x: input of a projection.
        weights: factor of every feature (`wina_amp.scoring.criteria`).
        keep: k of every group, int64.
        most: the largest of `keep`, known to the host.
        groups: group of every row, below the number of groups (not checked here).
        eligible: tokens that may be masked.
        kept: int64; the number of features of eligible tokens that were kept is ADDED to it, row by row.
        out: contiguous memory of the shape of x for the result, used where `is_compiled(x)`; None allocates.

    Returns: the masked input, in the dtype of x.

    Guarantee: exactly k features of every eligible token without NaN are kept, also where scores are equal or zero.
    """
    if is_compiled(x):
        source = x.contiguous()
        result = torch.empty_like(source) if out is None else out
        arrays = (array.numpy() for array in (weights, keep, groups, eligible, kept, result))
        _mask_rows(source.numpy(), *arrays)
        return result
    wanted = keep[groups][:, None, None]
    patterns: Int32[Tensor, "batch width in"] = scores(x, weights).view(torch.int32) & _MAGNITUDE
    largest = patterns.topk(max(most, 1), dim=-1).values
    last = largest.gather(-1, (wanted - 1).clamp(min=0).expand(-1, x.shape[1], 1))
    above, equal = patterns > last, patterns == last
    room = wanted - above.sum(dim=-1, keepdim=True)
    is_kept = above | (equal & (equal.cumsum(dim=-1) <= room)) | (patterns > _INFINITY)
    dropped = ~is_kept & eligible[:, :, None]
    kept += eligible.sum(dim=1) * x.shape[-1] - dropped.sum(dim=(1, 2))
    return x.masked_fill(dropped, 0)


@njit(nogil=True)
def _mask_rows(
    x: NDArray[np.float32],
    weights: NDArray[np.float32],
    keep: NDArray[np.int64],
    groups: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    kept: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    rows, width, features = x.shape
    score = np.empty(features, np.float32)
    pattern = score.view(np.int32)
    for row in range(rows):
        wanted = keep[groups[row]]
        for token in range(width):
            if not eligible[row, token]:
                for feature in range(features):
                    out[row, token, feature] = x[row, token, feature]
                continue
            for feature in range(features):
                score[feature] = abs(x[row, token, feature]) * weights[feature]
            largest = np.int32(0)
            for feature in range(features):
                pattern[feature] &= np.int32(_MAGNITUDE)
                largest = max(largest, pattern[feature])
            # The largest pattern that at least `wanted` scores reach; `reached` counts those that do, `above` those
            # that reach `high + 1`. Counts are nearly linear in patterns (logarithms of scores) where most scores lie,
            # so every other bound is where a line would put it.
            low, high = np.int64(0), np.int64(largest)
            reached, above = np.int64(features), np.int64(0)
            halve = False
            while low < high and reached > wanted:
                if halve:
                    middle = low + (high - low + 1) // 2
                else:
                    middle = low + (high + 1 - low) * (reached - wanted) // (reached - above)
                    middle = min(max(middle, low + 1), high)
                halve = not halve
                bound = np.int32(middle)
                count = np.int32(0)
                for feature in range(features):
                    count += np.int32(pattern[feature] >= bound)
                if count >= wanted:
                    low, reached = middle, np.int64(count)
                else:
                    high, above = middle - 1, np.int64(count)
            surplus = reached - wanted  # of scores that are equal to `low`
            if surplus == 0:
                bound = np.int32(min(low, _INFINITY + 1))  # NaN are kept, whatever their number
                count = np.int32(0)
                for feature in range(features):
                    is_kept = pattern[feature] >= bound
                    out[row, token, feature] = x[row, token, feature] if is_kept else np.float32(0)
                    count += np.int32(is_kept)
                kept[row] += count
                continue
            equal = np.int64(0)
            for feature in range(features):
                equal += pattern[feature] == low
            room = equal - surplus
            for feature in range(features):
                is_kept = pattern[feature] > low or pattern[feature] > _INFINITY
                if pattern[feature] == low and room > 0:
                    is_kept = True
                    room -= 1
                out[row, token, feature] = x[row, token, feature] if is_kept else np.float32(0)
                kept[row] += is_kept
