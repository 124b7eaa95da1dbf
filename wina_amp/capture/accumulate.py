"""Count scores into histograms and sum feature magnitudes, in one pass over an activation.

The activation of a site is read once for all scorings of that site (criteria x projections, each distinct weight vector
once). Bins come from the bit pattern of the float32 score (`wina_amp/histograms/bins.py`), so there is no logarithm, no
sort and no copy of the activations; memory is that of the counts.

On the CPU a compiled kernel does this at half a nanosecond per score, two thirds of it for the increments themselves
(docs/performance.md), where the equivalent tensor expressions would cost more than the model itself. On CUDA devices
Triton does (`wina_amp/capture/triton_accumulate.py`). Where Triton is not installed, and on all other devices, the same
counts come from tensor operations, which write several numbers for every score to memory and read them again: right,
but slow. `backend` says which it will be, and `python -m benchmarks.full_size` prints it. None of the three makes the
host wait, and all give exactly the counts of the NumPy transcription in tests/reference/.

NaN and infinity are not raised here, as that would need the host to wait for the device in every layer: `broken` marks
the scorings that met one, and whoever owns the batch looks at it once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int32
from torch import Tensor

from wina_amp.histograms.bins import FIRST_BIN, UNDERFLOW_BIN, ZERO_BIN, Bins
from wina_amp.masks.compiled import njit

COMPILED, TRITON, TENSORS = "compiled", "triton", "tensors"

_HAS_TRITON = find_spec("triton") is not None
_INFINITY = 0x7F800000
_SCORES_AT_ONCE = 1 << 24  # bounds the temporaries of the tensor version to a few hundred MB


@dataclass(frozen=True)
class Totals:
    """What the tokens of one activation are added to.

    Attributes:
        bins: resolution of the histograms.
        weights: factor of every feature, one row per distinct scoring, not negative.
        counts: histograms.
        broken: 1 for a scoring that met a score which is NaN or infinite.
        sums: sums of magnitudes.
    """

    bins: Bins
    weights: Float32[Tensor, "scorings features"]
    counts: Int32[Tensor, "samples scorings bins"]
    broken: Int32[Tensor, " scorings"]
    sums: Float32[Tensor, "prompts features"]

    @classmethod
    def zeros(cls, bins: Bins, weights: Float32[Tensor, "scorings features"], samples: int, prompts: int) -> Self:
        """Nothing added yet, on the device of the weights."""
        device, (scorings, features) = weights.device, weights.shape
        return cls(
            bins,
            weights,
            counts=torch.zeros(samples, scorings, bins.count, dtype=torch.int32, device=device),
            broken=torch.zeros(scorings, dtype=torch.int32, device=device),
            sums=torch.zeros(prompts, features, device=device),
        )


def accumulate(
    x: Float[Tensor, "tokens features"],
    segment: Int[Tensor, " tokens"],
    sum_segment: Int[Tensor, " tokens"],
    totals: Totals,
) -> None:
    """Add the tokens of one activation to `totals`, in place.

    For every token t with `segment[t] >= 0` and every scoring k, the scores |x[t]| * weights[k] are counted in
    `counts[segment[t], k]`; for every token with `sum_segment[t] >= 0`, |x[t]| is added to
    `sums[sum_segment[t]]` in float32. Other tokens are ignored.

    Args:
        x: activation, any floating dtype; scored in float32.
        segment: row of `totals.counts`, or -1. int64.
        sum_segment: row of `totals.sums`, or -1. int64.
        totals: added to.

    Guarantee: counts are exact and the same on every device and in every backend; on one device, in one of them, equal
    inputs give equal bytes.
    """
    _BACKENDS[backend(x.device)](x, segment, sum_segment, totals)


def backend(device: torch.device) -> str:
    """The backend of `accumulate` on a device: `COMPILED` on the CPU; on CUDA devices `TRITON` where it is installed;
    else `TENSORS`."""
    if device.type == "cpu":
        return COMPILED
    return TRITON if device.type == "cuda" and _HAS_TRITON else TENSORS


def accumulate_tensors(x: Tensor, segment: Tensor, sum_segment: Tensor, totals: Totals) -> None:
    """`accumulate` as tensor operations, on the device where the tensors are; no host synchronisation."""
    step = max(1, _SCORES_AT_ONCE // max(totals.weights.numel(), 1))
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        magnitudes = x[part].float().abs()
        _sum_magnitudes(magnitudes, sum_segment[part], totals.sums)
        if totals.counts.numel():
            _count_scores(magnitudes, segment[part], totals)


def _accumulate_compiled(x: Tensor, segment: Tensor, sum_segment: Tensor, totals: Totals) -> None:
    bins = totals.bins
    _kernel(
        x.float().contiguous().numpy(),
        totals.weights.numpy(),
        segment.numpy(),
        totals.counts.numpy(),
        totals.broken.numpy(),
        totals.sums.numpy(),
        sum_segment.numpy(),
        bins.shift,
        bins.base - FIRST_BIN,
        _limits(bins),
    )


def _accumulate_triton(x: Tensor, segment: Tensor, sum_segment: Tensor, totals: Totals) -> None:
    from wina_amp.capture.triton_accumulate import accumulate_triton

    accumulate_triton(x, segment, sum_segment, totals)


def _count_scores(
    magnitudes: Float32[Tensor, "tokens features"], segment: Int[Tensor, " tokens"], totals: Totals
) -> None:
    bins, weights = totals.bins, totals.weights
    counted = (segment >= 0)[:, None, None]
    patterns = (magnitudes[:, None, :] * weights).view(torch.int32)
    patterns = torch.where(counted, patterns & 0x7FFFFFFF, 0)
    totals.broken.logical_or_(patterns.amax(dim=(0, 2)) >= _INFINITY)  # NaN of either sign is above infinity
    index = (patterns >> bins.shift).sub_(bins.base - FIRST_BIN).clamp_(UNDERFLOW_BIN, bins.count - 1)
    index = torch.where(patterns == 0, ZERO_BIN, index).long()
    scorings = torch.arange(len(weights), device=weights.device)
    histogram = segment.clamp(min=0)[:, None] * len(weights) + scorings
    index += (histogram * bins.count)[:, :, None]
    ones = counted.to(torch.int32).expand_as(index)
    totals.counts.view(-1).scatter_add_(0, index.view(-1), ones.reshape(-1))


def _sum_magnitudes(
    magnitudes: Float32[Tensor, "tokens features"],
    sum_segment: Int[Tensor, " tokens"],
    sums: Float32[Tensor, "prompts features"],
) -> None:
    # A product with the membership matrix: floating-point atomics would add in a different order on every run.
    rows = torch.arange(len(sums), device=sums.device)
    member = sum_segment == rows[:, None]
    sums.addmm_(member.float(), torch.where(sum_segment[:, None] >= 0, magnitudes, 0.0))


def _count_tokens(
    x: Any,
    weights: Any,
    segment: Any,
    counts: Any,
    broken: Any,
    sums: Any,
    sum_segment: Any,
    shift: int,
    first: int,
    limits: Any,
) -> None:
    # Written for the compiler: simple float loops become vector instructions, only the increments are scalar. Indices
    # are stored before they are counted (0.5 ns a score, 0.75 when the increment computes them), in 16 bits. Integer
    # clamps, which numba widens to 64 bits, made it several times slower.
    features = x.shape[1]
    last = counts.shape[2] - 1
    zero, underflow, overflow = limits
    magnitude = np.empty(features, np.float32)
    clamped = np.empty(features, np.float32)
    pattern = clamped.view(np.uint32)
    index = np.empty(features, np.uint16)
    drop, offset = np.uint32(shift), np.uint32(first)
    for token in range(x.shape[0]):
        row, sum_row = segment[token], sum_segment[token]
        if row < 0 and sum_row < 0:
            continue
        for feature in range(features):
            magnitude[feature] = abs(x[token, feature])
        if sum_row >= 0:
            for feature in range(features):
                sums[sum_row, feature] += magnitude[feature]
        if row < 0:
            continue
        for scoring in range(weights.shape[0]):
            for feature in range(features):
                value = magnitude[feature] * weights[scoring, feature]
                at_most = value if value < overflow else overflow  # infinity, and NaN, which is not less
                within = at_most if at_most > underflow else underflow
                clamped[feature] = within if value != np.float32(0) else zero
            for feature in range(features):
                index[feature] = np.uint16((pattern[feature] >> drop) - offset)
            histogram = counts[row, scoring]
            before = histogram[last]
            for feature in range(features):
                histogram[index[feature]] += 1
            if histogram[last] != before:  # only then can a score be infinite or NaN
                for feature in range(features):
                    if not np.isfinite(magnitude[feature] * weights[scoring, feature]):
                        broken[scoring] = 1


@lru_cache
def _limits(bins: Bins) -> Float32[np.ndarray, " 3"]:
    """Floats that the kernel puts in place of zero, of what underflows and of what overflows, to land in those bins."""
    patterns = np.array([ZERO_BIN, UNDERFLOW_BIN, bins.count - 1]) + (bins.base - FIRST_BIN)
    return (patterns.astype(np.uint32) << np.uint32(bins.shift)).view(np.float32)


_kernel = njit(nogil=True)(_count_tokens)
_BACKENDS: dict[str, Callable[..., None]] = {
    COMPILED: _accumulate_compiled,
    TRITON: _accumulate_triton,
    TENSORS: accumulate_tensors,
}
