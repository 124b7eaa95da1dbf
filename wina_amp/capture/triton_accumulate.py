"""Count scores into histograms and sum feature magnitudes on a GPU, without temporaries (Triton).

The meaning is that of `wina_amp.capture.accumulate`; counts are exactly the same. Tensor operations write index, ones
and products of every score to memory, some 30 bytes, before they count it; here only the activation, the weights and
the counts are touched.

**Counting.** A program takes some features of a few tokens, one token at a time, reads their activations once, and
forms the scores of every scoring in registers. Adding 1 to global memory for each score would be the shortest kernel,
but most scores of a sample fall into some hundred bins, where all programs would wait for each other. So the scores of
a block are first counted on the multiprocessor (`tl.histogram`), and what that found is added to the counts, integer by
integer; sums of integers do not depend on the order. Over all bins, `tl.histogram` would clear, read and add a thousand
of them for every two thousand scores, and Triton 3.7.1 counts by ballots, in time that grows with the bins. So it
sees a WINDOW of octaves about the block's mean bin (a mean of logarithms, which single huge scores hardly move), and
the scores outside are added one by one. Where the window lies decides how fast counts come, never what they are.

**Magnitudes.** Sums of floats do depend on the order, so there are no atomic additions: a second launch reads the
activation again, 2 bytes a feature in 16 bits. A program owns some features of ONE row of the sums and goes through
all tokens in ascending order; tiles without a token of its row cost a look at their rows. Equal calls give equal bits
on one device.

No shape depends on data and the host never waits. Needs Triton 3.4 (masked histograms), which torch 2.8 brings.

NOT CHECKED: neither kernel has ever run on a GPU. Counts and sums are tested in Triton's interpreter, compilation for
compute capabilities 8.0 and 9.0 without a device. All sizes in `BLOCKS` are guesses. A GPU should measure, in this
order: capture over the plain forward pass (`python -m benchmarks.gpu`, or `benchmarks.full_size --device cuda`); then
the kernels alone: whether more octaves or 0 of them (every score by itself) count faster, more features or tokens in a
program, and whether the second launch is worth joining to the first.
"""

# Triton takes annotations of a kernel's arguments for its own types.
# ruff: noqa: ANN001
# pyright: reportMissingParameterType=false

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from jaxtyping import Float, Int
from torch import Tensor

from wina_amp.capture.accumulate import Totals
from wina_amp.histograms.bins import FIRST_BIN, UNDERFLOW_BIN, ZERO_BIN


@dataclass(frozen=True)
class Blocks:
    """How the work is cut up. Counts do not depend on it; sums of magnitudes depend on `tile_tokens` in the last bits.

    Attributes:
        features: of a counting program, a power of two, at least its threads.
        tokens: of a counting program, one after the other; they share weights in the cache.
        octaves: of the window, a power of two, or 0 to add every score by itself.
        warps: of a counting program.
        tile_features: of a summing program, a power of two.
        tile_tokens: that a summing program reads at a time, a power of two.
    """

    features: int
    tokens: int
    octaves: int
    warps: int
    tile_features: int
    tile_tokens: int


BLOCKS = Blocks(features=2048, tokens=4, octaves=8, warps=4, tile_features=128, tile_tokens=32)

_LEAST_WINDOW = 32  # bins; a warp has as many threads, each of which owns at least one
_INFINITY = tl.constexpr(0x7F800000)
_MAGNITUDE = tl.constexpr(0x7FFFFFFF)
_ZERO, _UNDERFLOW = tl.constexpr(ZERO_BIN), tl.constexpr(UNDERFLOW_BIN)


def accumulate_triton(
    x: Float[Tensor, "tokens features"],
    segment: Int[Tensor, " tokens"],
    sum_segment: Int[Tensor, " tokens"],
    totals: Totals,
    blocks: Blocks | None = None,
) -> None:
    """`wina_amp.capture.accumulate.accumulate` in two launches on the device of the tensors.

    Args:
        blocks: how to cut up the work, `BLOCKS` unless given; all others are explained there.

    Raises:
        ValueError: `counts`, `broken` or `sums` is not contiguous, so that a kernel would write beside it.
    """
    bins, weights, counts, broken, sums = totals.bins, totals.weights, totals.counts, totals.broken, totals.sums
    if not (counts.is_contiguous() and broken.is_contiguous() and sums.is_contiguous()):
        raise ValueError("counts, broken and sums must be contiguous")
    blocks = blocks or BLOCKS
    x = x.contiguous()
    tokens, features = x.shape
    with torch.cuda.device_of(x):  # Triton launches on the current device; a model may be spread over several
        if counts.numel():
            window = max(_LEAST_WINDOW, blocks.octaves << bins.mantissa_bits) if blocks.octaves else 0
            cast(Any, _count)[(triton.cdiv(tokens, blocks.tokens), triton.cdiv(features, blocks.features))](
                *(x, weights.contiguous(), segment.contiguous(), counts, broken, tokens, features, len(weights)),
                **{"SHIFT": bins.shift, "OFFSET": bins.base - FIRST_BIN, "BINS": bins.count, "WINDOW": window},
                **{"FEATURES": blocks.features, "TOKENS": blocks.tokens, "num_warps": blocks.warps},
            )
        if sums.numel():
            cast(Any, _sum)[(triton.cdiv(features, blocks.tile_features), len(sums))](
                *(x, sum_segment.contiguous(), sums, tokens, features),
                **{"FEATURES": blocks.tile_features, "TOKENS": blocks.tile_tokens},
            )


@triton.jit
def _count(
    x,
    weights,
    segment,
    counts,
    broken,
    tokens,
    features,
    scorings,
    SHIFT: tl.constexpr,
    OFFSET: tl.constexpr,
    BINS: tl.constexpr,
    WINDOW: tl.constexpr,
    FEATURES: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    """Count the scores of some features of `TOKENS` tokens, for all scorings."""
    first = tl.program_id(1) * FEATURES
    feature = first + tl.arange(0, FEATURES)
    is_here = feature < features
    for step in range(TOKENS):
        token = tl.program_id(0) * TOKENS + step
        row = tl.load(segment + token, mask=token < tokens, other=-1)
        if row >= 0:
            # 64 bits: a batch may have more than 2^31 activations.
            value = tl.load(x + token.to(tl.int64) * features + feature, mask=is_here, other=0.0)
            magnitude = tl.abs(value.to(tl.float32))
            for scoring in range(scorings):
                weight = tl.load(weights + scoring * features + feature, mask=is_here, other=0.0)
                pattern = (magnitude * weight).to(tl.int32, bitcast=True) & _MAGNITUDE
                # NaN of either sign is above infinity. Others may write the same 1.
                tl.store(broken + scoring, 1, mask=tl.max(pattern, axis=0) >= _INFINITY)
                index = tl.maximum(tl.minimum((pattern >> SHIFT) - OFFSET, BINS - 1), _UNDERFLOW)
                index = tl.where(pattern == 0, _ZERO, index)
                histogram = counts + (row * scorings + scoring) * BINS
                is_alone = is_here
                if WINDOW > 0:
                    mean = tl.sum(tl.where(is_here, index, 0), axis=0) // tl.minimum(features - first, FEATURES)
                    # Scores reach further down from their mean in a logarithm than up.
                    low = mean - WINDOW * 9 // 16
                    is_near = is_here & (index >= low) & (index < low + WINDOW)
                    counted = tl.histogram(index - low, WINDOW, mask=is_near)
                    near = histogram + low + tl.arange(0, WINDOW)
                    tl.atomic_add(near, counted, mask=counted > 0, sem="relaxed")
                    is_alone = is_here & ~is_near
                tl.atomic_add(histogram + index, 1, mask=is_alone, sem="relaxed")


@triton.jit
def _sum(
    x,
    sum_segment,
    sums,
    tokens,
    features,
    FEATURES: tl.constexpr,
    TOKENS: tl.constexpr,
) -> None:
    """Add the magnitudes of one row's tokens to some of its features, tile after tile."""
    row = tl.program_id(1)
    feature = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)
    is_feature = feature < features
    total = tl.zeros((TOKENS, FEATURES), dtype=tl.float32)
    for start in range(0, tokens, TOKENS):
        token = start + tl.arange(0, TOKENS)
        is_member = tl.load(sum_segment + token, mask=token < tokens, other=-1) == row
        if tl.max(is_member.to(tl.int32), axis=0) > 0:
            source = x + token.to(tl.int64)[:, None] * features + feature[None, :]
            value = tl.load(source, mask=is_member[:, None] & is_feature[None, :], other=0.0)
            total += tl.abs(value.to(tl.float32))
    # Programs of a launch must not add to the same address; these own theirs.
    target = sums + row.to(tl.int64) * features + feature
    before = tl.load(target, mask=is_feature, other=0.0)
    tl.store(target, before + tl.sum(total, axis=0), mask=is_feature)
