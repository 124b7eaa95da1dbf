"""Sparse decoding on a GPU: only the weights of inputs that some token keeps are read (Triton).

The product is that of `wina_amp.decode.numba_gather`, with weights stored input-major in the dtype of the model and
sums in float32. All projections of one input are PACKED: their columns stand side by side in one matrix `[in, width]`,
which is the copy that input-major weights need anyway, so that packing takes no memory of its own. One launch runs them
all. A program takes some columns, which belong to one projection, and a part of the inputs; it compares |x| with the
cutoffs that THIS projection has for each token's group, and loads the rows of weights that some token keeps. A
predicated load of a masked row moves nothing. Pointers to every projection's weights instead of packing would save
nothing: the copies are made anyway.

A second launch adds the parts, always in the same order, and the bias; for a gated MLP it goes on to silu(gate) * up,
so that neither is written. There are no atomic additions, so equal calls give equal bits.

Groups and cutoffs are tensors on the device: another profile needs neither another compilation nor the host, and shapes
depend on nothing but the number of tokens, so that a CUDA graph may record the launches. To torch.compile they are one
opaque operator.

NOT CHECKED: this kernel has never run on a GPU. Its results are tested in Triton's interpreter, its compilation for
compute capabilities 8.0 and 9.0 without a device. Block sizes are guesses, which `python -m benchmarks.gpu` measures;
no speed is claimed.

Triton is the extra `gpu` of the package and comes with the CUDA builds of torch; `wina_amp.decode.backends` imports
this module only where Triton is installed.
"""

# Triton takes annotations of a kernel's arguments for its own types.
# ruff: noqa: ANN001, ANN202
# pyright: reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from jaxtyping import Float, Int
from torch import Tensor

from wina_amp.decode.masked_projections import MaskedProjection

MOST_PROJECTIONS = 3
"""Projections of one input: q, k and v."""

WIDTH = 256
"""A projection's columns are padded with zeros to a multiple of it, so that no program's columns belong to two
projections. In Llama-3-8B, Qwen2.5-7B and Phi-4 there is no padding: all have multiples of 256 outputs."""


@dataclass(frozen=True)
class Blocks:
    """Block sizes of a launch. Results depend on `inputs` and `part` in the last bits, because sums do.

    Attributes:
        inputs: that a program scores at a time; a power of two.
        outputs: columns of a program, a power of two, at most `WIDTH`. 128 are in 16 bits 256 bytes of every kept row,
            whole memory transactions.
        part: inputs of a program, a multiple of `inputs`. They do not depend on the device, so that neither do sums.
        warps: of a program.
    """

    inputs: int
    outputs: int
    part: int
    warps: int


BLOCKS = {
    1: Blocks(32, 128, 512, 4),
    2: Blocks(32, 128, 512, 4),
    4: Blocks(16, 128, 512, 4),
    8: Blocks(16, 128, 512, 4),
}
"""Number of tokens, rounded up to a power of two -> block sizes. A table, so that a benchmark may try others."""


_SCHEMA = (
    "(Tensor x, Tensor weight, Tensor cutoffs, Tensor groups, Tensor? bias, int[] firsts, int half, int up) -> Tensor"
)


class Packed:
    """The projections of one input in one launch (`wina_amp.decode.masked_projections.SparseProjections`).

    Args:
        projections: 1 to `MOST_PROJECTIONS` projections of the same width, all on one device and in one dtype.

    Guarantee: equal calls give equal bits. A NaN is kept, as by `wina_amp.masks.reference`. Weights must be finite: one
        that is not may reach the tokens of the call that mask its input.

    Raises:
        ValueError: too many projections, or weights and cutoffs of different numbers of inputs.
    """

    def __init__(self, projections: Sequence[MaskedProjection]) -> None:
        if not 1 <= len(projections) <= MOST_PROJECTIONS:
            raise ValueError(f"1 to {MOST_PROJECTIONS} projections can share a launch, got {len(projections)}")
        inputs = {tensor.shape[1] for masked in projections for tensor in (masked.weight, masked.cutoffs)}
        if len(inputs) != 1:
            raise ValueError(f"weights and cutoffs must have as many inputs each, got {sorted(inputs)}")
        self._outputs = [len(masked.weight) for masked in projections]
        self._firsts: list[int] = []
        width = 0
        for size in self._outputs:
            self._firsts.append(width)
            width += (size + WIDTH - 1) // WIDTH * WIDTH
        self._weight = projections[0].weight.new_zeros(inputs.pop(), width)
        self._bias = None if all(masked.bias is None for masked in projections) else self._weight.new_zeros(width)
        for masked, first, size in zip(projections, self._firsts, self._outputs, strict=True):
            self._weight[:, first : first + size] = masked.weight.detach().t()
            if masked.bias is not None and self._bias is not None:
                self._bias[first : first + size] = masked.bias.detach()
        self._cutoffs = torch.stack([masked.cutoffs for masked in projections], dim=1)

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> tuple[Tensor, ...]:
        """See `SparseProjections`. Raises: ValueError: inputs of another width, which the kernel would read past."""
        y = self._run(x, groups, 0, 0)
        return tuple(y[:, first : first + size] for first, size in zip(self._firsts, self._outputs, strict=True))

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """See `SparseProjections`. Raises: ValueError: inputs of another width, or outputs without halves."""
        if len(self._outputs) == 2 and self._outputs[0] == self._outputs[1]:
            return self._run(x, groups, self._outputs[0], self._firsts[1])
        if len(self._outputs) == 1 and self._outputs[0] % 2 == 0:
            return self._run(x, groups, self._outputs[0] // 2, self._outputs[0] // 2)
        widths = ", ".join(map(str, self._outputs))
        raise ValueError(f"gate and up must be two projections of one width, or the halves of one, got widths {widths}")

    def _run(self, x: Tensor, groups: Tensor, half: int, up: int) -> Tensor:
        if x.shape[1] != len(self._weight):
            raise ValueError(
                f"x and the projections must have as many inputs each, got {x.shape[1]} and {len(self._weight)}"
            )
        firsts = (*self._firsts[1:], *([self._weight.shape[1]] * MOST_PROJECTIONS))[: MOST_PROJECTIONS - 1]
        return _launch(x.contiguous(), self._weight, self._cutoffs, groups, self._bias, list(firsts), half, up)


@torch.library.custom_op("wina_amp::kept_columns", mutates_args=(), schema=_SCHEMA)
def _launch(
    x: Tensor,
    weight: Tensor,
    cutoffs: Tensor,
    groups: Tensor,
    bias: Tensor | None,
    firsts: Sequence[int],
    half: int,
    up: int,
) -> Tensor:
    """All columns of packed projections, `[tokens, width]`; where `half` is not 0 silu(columns from 0) * (columns from
    `up`) instead, `[tokens, half]`. `firsts`: first columns of the second and third projection."""
    inputs, width = weight.shape
    rows = cast(int, triton.next_power_of_2(len(x)))
    blocks = BLOCKS[rows]
    # A narrow input is one part, no longer than it must be.
    part = min(blocks.part, max(blocks.inputs, cast(int, triton.next_power_of_2(inputs))))
    parts = cast(int, triton.cdiv(inputs, part))
    sums = torch.empty(parts, len(x), width, dtype=torch.float32, device=x.device)
    y = torch.empty(len(x), half or width, dtype=x.dtype, device=x.device)
    with torch.cuda.device_of(x):  # Triton launches on the current device; a model may be spread over several
        cast(Any, _multiply)[(width // blocks.outputs, parts)](
            *(x, weight, cutoffs, groups, sums, len(x), inputs, width, *firsts),
            **{"ROWS": rows, "PROJECTIONS": cutoffs.shape[1], "IN": blocks.inputs, "OUT": blocks.outputs, "PART": part},
            **{"num_warps": blocks.warps, "enable_fp_fusion": True},
        )
        cast(Any, _add)[(triton.cdiv(half or width, blocks.outputs), len(x))](
            *(sums, y if bias is None else bias, y, width, half or width, up),
            **{"PARTS": parts, "OUT": blocks.outputs, "HAS_BIAS": bias is not None, "IS_GATED": half > 0},
            **{"enable_fp_fusion": True},
        )
    return y


@_launch.register_fake
def _shape(x: Tensor, weight: Tensor, *_others: object) -> Tensor:
    half = cast(int, _others[4])
    return x.new_empty(len(x), half or weight.shape[1])


@triton.jit
def _multiply(
    x,
    weight,
    cutoffs,
    groups,
    sums,
    tokens,
    inputs,
    width,
    second,
    third,
    ROWS: tl.constexpr,
    PROJECTIONS: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PART: tl.constexpr,
):
    """sums[part, token, column] = the products of one part of the inputs with one block of columns."""
    token = tl.arange(0, ROWS)
    first = tl.program_id(0) * OUT
    column = first + tl.arange(0, OUT)
    part = tl.program_id(1)
    # The projection of these columns: no block has columns of two.
    which = (first >= second).to(tl.int32) + (first >= third).to(tl.int32)
    is_token = token < tokens
    group = tl.load(groups + token, mask=is_token, other=0)
    limits = cutoffs + (group * PROJECTIONS + which) * inputs
    total = tl.zeros((ROWS, OUT), dtype=tl.float32)
    for start in range(0, PART, IN):
        feature = part * PART + start + tl.arange(0, IN)
        is_here = is_token[:, None] & (feature < inputs)[None, :]
        value = tl.load(x + token[:, None] * inputs + feature[None, :], mask=is_here, other=0.0).to(tl.float32)
        cutoff = tl.load(limits[:, None] + feature[None, :], mask=is_here, other=0.0)
        # Not `>`: a NaN is kept.
        is_kept = is_here & ~(tl.abs(value) <= cutoff)
        is_read = tl.max(is_kept.to(tl.int32), axis=0) > 0
        # 64 bits: packed projections of a large model have more than 2^31 weights.
        address = weight + feature.to(tl.int64)[:, None] * width + column[None, :]
        # A weight is read once a step; what is read again (inputs, cutoffs, sums) should stay in the cache.
        read = tl.load(address, mask=is_read[:, None], other=0.0, eviction_policy="evict_first").to(tl.float32)
        value = tl.where(is_kept, value, 0.0)
        total += tl.sum(value[:, :, None] * read[None, :, :], axis=1)
    tl.store(sums + (part * tokens + token[:, None]) * width + column[None, :], total, mask=is_token[:, None])


@triton.jit
def _add(
    sums,
    bias,
    y,
    width,
    outputs,
    up,
    PARTS: tl.constexpr,
    OUT: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    IS_GATED: tl.constexpr,
) -> None:
    """y[token, column] = bias + the parts, in ascending order; gated: silu of that, times the same of `up` + column."""
    column = tl.program_id(0) * OUT + tl.arange(0, OUT)
    token, tokens = tl.program_id(1), tl.num_programs(1)
    is_output = column < outputs
    total = tl.zeros((OUT,), dtype=tl.float32)
    other = tl.zeros((OUT,), dtype=tl.float32)
    for part in range(PARTS):
        address = sums + (part * tokens + token) * width + column
        total += tl.load(address, mask=is_output, other=0.0)
        if IS_GATED:
            other += tl.load(address + up, mask=is_output, other=0.0)
    if HAS_BIAS:
        total += tl.load(bias + column, mask=is_output, other=0.0).to(tl.float32)
        if IS_GATED:
            other += tl.load(bias + up + column, mask=is_output, other=0.0).to(tl.float32)
    if IS_GATED:
        # Rounded where the separate operations round.
        kind = y.dtype.element_ty
        gate = total.to(kind).to(tl.float32)
        gate = (gate / (1.0 + tl.exp(-gate))).to(kind).to(tl.float32)
        total = gate * other.to(kind).to(tl.float32)
    tl.store(y + token * outputs + column, total.to(y.dtype.element_ty), mask=is_output)
