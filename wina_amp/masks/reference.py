"""The reference semantics of running sparse: masked dense execution of one projection.

    x'_i = 0 if the token is eligible and score_i <= threshold, else x_i          (TEAL eq. 3, WINA eq. 5)

The scores are those of `wina_amp.scoring.criteria`, compared in float32 whatever the dtype of x, through equivalent
cutoffs on |x_i| (`wina_amp.masks.cutoffs`). A NaN is neither above nor below a threshold; it is kept, so that it
reaches the output and is refused there instead of being silently zeroed.

On the CPU a compiled kernel reads every number once, writes it or zero, and counts (numba). It compares bit patterns,
whose order is that of magnitudes, so that one kernel serves all types. In float32 it is 8 to 25 times faster than the
tensor operations, in bfloat16 40 to 65 times (docs/performance.md). Everywhere else tensor operations do the same, bit
for bit. Masks of another kind stand beside this module (`wina_amp.masks.topk`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from wina_amp.masks.compiled import HAS_NUMBA, njit

_PATTERNS: dict[torch.dtype, tuple[torch.dtype, Any]] = {
    torch.float32: (torch.int32, np.int32(0x7FFFFFFF)),
    torch.bfloat16: (torch.int16, np.int16(0x7FFF)),
    torch.float16: (torch.int16, np.int16(0x7FFF)),
}
"""Integers of the size of a type, and all their bits but the sign."""


def mask(
    x: Float[Tensor, "batch width in"],
    cutoffs: Float[Tensor, "groups in"],
    groups: Int[Tensor, " batch"],
    eligible: Bool[Tensor, "batch width"],
    kept: Int[Tensor, " batch"],
    out: Float[Tensor, "batch width in"] | None = None,
) -> Float[Tensor, "batch width in"]:
    """Zero the features of eligible tokens whose magnitude does not exceed the cutoff of the row's group.

    Args:
        x: input of a projection.
        cutoffs: float32, per group and feature.
        groups: group of every row, below the number of groups (not checked here).
        eligible: tokens that may be masked.
        kept: int64; the number of features of eligible tokens that were kept is ADDED to it, row by row.
        out: contiguous memory of the shape and dtype of x for the result, where a kernel runs; None allocates.

    Returns: the masked input, in the dtype of x.
    """
    needs_gradient = torch.is_grad_enabled() and x.requires_grad  # the kernel's result would have none
    if HAS_NUMBA and x.device.type == "cpu" and x.dtype in _PATTERNS and not needs_gradient:
        source = x.contiguous()
        result = torch.empty_like(source) if out is None else out
        kind, magnitude = _PATTERNS[x.dtype]
        patterns, largest, written = (t.view(kind).numpy() for t in (source, _rounded_down(cutoffs, x.dtype), result))
        _mask_rows(patterns, largest, magnitude, groups.numpy(), eligible.numpy(), kept.numpy(), written)
        return result
    dropped = (x.abs() <= cutoffs[groups][:, None, :]) & eligible[:, :, None]
    kept += eligible.sum(dim=1) * x.shape[-1] - dropped.sum(dim=(1, 2))
    return x.masked_fill(dropped, 0)


def is_compiled(x: Tensor) -> bool:
    """Whether the kernels for float32 on the CPU run on this input."""
    return HAS_NUMBA and x.device.type == "cpu" and x.dtype == torch.float32


def _rounded_down(cutoffs: Float[Tensor, "groups in"], dtype: torch.dtype) -> Float[Tensor, "groups in"]:
    """The largest numbers of the type that do not exceed the cutoffs; a negative one stays below all patterns."""
    if dtype == cutoffs.dtype:
        return cutoffs
    nearest = cutoffs.to(dtype)
    is_above = nearest.float() > cutoffs
    return (nearest.view(torch.int16) - is_above.to(torch.int16)).view(dtype)


@njit(nogil=True)
def _mask_rows(
    x: NDArray[Any],
    cutoffs: NDArray[Any],
    magnitude: Any,
    groups: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    kept: NDArray[np.int64],
    out: NDArray[Any],
) -> None:
    """Of bit patterns; without the sign, those of infinity and NaN lie above those of numbers."""
    rows, width, features = x.shape
    for row in range(rows):
        cutoff = cutoffs[groups[row]]
        for token in range(width):
            if not eligible[row, token]:
                for feature in range(features):
                    out[row, token, feature] = x[row, token, feature]
                continue
            dropped = np.int32(0)
            for feature in range(features):
                value = x[row, token, feature]
                is_dropped = (value & magnitude) <= cutoff[feature]
                out[row, token, feature] = 0 if is_dropped else value
                dropped += np.int32(is_dropped)
            kept[row] += features - dropped
