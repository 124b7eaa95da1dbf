"""Sparse decoding on a GPU: only the weights of inputs that some token keeps are read (Triton).

The product is that of `pipeline.sparse.gather`, with weights stored input-major, `[in, out]`, in the dtype of the model
and sums in float32. One launch scores, masks and multiplies: a program takes some outputs and a part of the inputs,
compares |x| with the cutoffs of each token's group, and loads the rows of weights that some token keeps; a predicated
load of a masked row moves nothing. A second launch adds the parts, always in the same order, and the bias. There are no
atomic additions, so equal calls give equal bits.

Groups and cutoffs are tensors on the device: another profile needs neither another compilation nor the host, and shapes
depend on nothing but the number of tokens, so that a CUDA graph may record the launches.

NOT CHECKED: this kernel has never run on a GPU. Its results are tested in Triton's interpreter, its compilation for
compute capabilities 8.0 and 9.0 without a device. Block sizes are guesses; no speed is claimed.

Triton is no dependency of this project: it comes with the CUDA builds of torch. `pipeline.sparse.backends` imports this
module only where Triton is there.
"""

# Triton takes annotations of a kernel's arguments for its own types.
# ruff: noqa: ANN001, ANN202
# pyright: reportMissingParameterType=false

from __future__ import annotations

from typing import Any, cast

import torch
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]
from jaxtyping import Float, Float32, Int
from torch import Tensor

MOST_TOKENS = 8
"""Tokens per call; they share the weights that any of them keeps."""

BLOCK_IN = 16
"""Inputs that a program scores at a time."""

BLOCK_OUT = 128
"""Outputs of a program: in 16 bits 256 bytes of every kept row, whole memory transactions."""

PART = 512
"""Inputs of a program. They do not depend on the device, so that neither do the sums."""


def linear(
    x: Float[Tensor, "tokens in"],
    weight: Float[Tensor, "in out"],
    cutoffs: Float32[Tensor, "groups in"],
    groups: Int[Tensor, " tokens"],
    bias: Float[Tensor, " out"] | None,
) -> Float[Tensor, "tokens out"]:
    """The linear map of the masked inputs, in the dtype of x.

    Args:
        x: inputs, 1 to `MOST_TOKENS` tokens; all are masked.
        weight: the map's matrix, transposed and contiguous, in the dtype of x.
        cutoffs: largest magnitude that is masked, per group and input (`sparse.cutoffs`), contiguous.
        groups: group of every token, int64, below the number of groups (not checked here: that would wait for the GPU).
        bias: added after the parts are, in float32.

    Guarantee: equal calls give equal bits. A NaN is kept, as by `sparse.reference`. Weights must be finite: one that is
        not may reach the tokens of the call that mask its input.

    Raises:
        ValueError: inputs, weights and cutoffs of different widths, which the kernel would read past.
    """
    if not x.shape[1] == weight.shape[0] == cutoffs.shape[1]:
        widths = f"{x.shape[1]}, {weight.shape[0]}, {cutoffs.shape[1]}"
        raise ValueError(f"x, weight and cutoffs must have as many inputs each, got {widths}")
    inputs, outputs = weight.shape
    x = x.contiguous()
    parts = cast(int, triton.cdiv(inputs, PART))
    sums = torch.empty(parts, len(x), outputs, dtype=torch.float32, device=x.device)
    y = torch.empty(len(x), outputs, dtype=x.dtype, device=x.device)
    rows = triton.next_power_of_2(len(x))
    columns = triton.cdiv(outputs, BLOCK_OUT)
    cast(Any, _multiply)[(columns, parts)](
        *(x, weight, cutoffs, groups, sums, len(x), inputs, outputs),
        **{"ROWS": rows, "IN": BLOCK_IN, "OUT": BLOCK_OUT, "PART": PART, "enable_fp_fusion": True},
    )
    cast(Any, _add)[(columns, len(x))](
        *(sums, y if bias is None else bias, y, outputs),
        **{"PARTS": parts, "OUT": BLOCK_OUT, "HAS_BIAS": bias is not None, "enable_fp_fusion": True},
    )
    return y


@triton.jit
def _multiply(
    x,
    weight,
    cutoffs,
    groups,
    sums,
    tokens,
    inputs,
    outputs,
    ROWS: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    PART: tl.constexpr,
):
    """sums[part, token, output] = what the inputs of one part add to one block of outputs."""
    token = tl.arange(0, ROWS)
    output = tl.program_id(0) * OUT + tl.arange(0, OUT)
    part = tl.program_id(1)
    is_token, is_output = token < tokens, output < outputs
    group = tl.load(groups + token, mask=is_token, other=0)
    total = tl.zeros((ROWS, OUT), dtype=tl.float32)
    for start in range(0, PART, IN):
        feature = part * PART + start + tl.arange(0, IN)
        is_here = is_token[:, None] & (feature < inputs)[None, :]
        value = tl.load(x + token[:, None] * inputs + feature[None, :], mask=is_here, other=0.0).to(tl.float32)
        cutoff = tl.load(cutoffs + group[:, None] * inputs + feature[None, :], mask=is_here, other=0.0)
        # Not `>`: a NaN is kept.
        is_kept = is_here & ~(tl.abs(value) <= cutoff)
        is_read = tl.max(is_kept.to(tl.int32), axis=0) > 0
        # 64 bits: a fused map of a large model has more than 2^31 weights.
        address = weight + feature.to(tl.int64)[:, None] * outputs + output[None, :]
        read = tl.load(address, mask=is_read[:, None] & is_output[None, :], other=0.0).to(tl.float32)
        value = tl.where(is_kept, value, 0.0)
        total += tl.sum(value[:, :, None] * read[None, :, :], axis=1)
    place = sums + (part * tokens + token[:, None]) * outputs + output[None, :]
    tl.store(place, total, mask=is_token[:, None] & is_output[None, :])


@triton.jit
def _add(sums, bias, y, outputs, PARTS: tl.constexpr, OUT: tl.constexpr, HAS_BIAS: tl.constexpr) -> None:
    """y[token, output] = bias + the parts, in ascending order."""
    output = tl.program_id(0) * OUT + tl.arange(0, OUT)
    token, tokens = tl.program_id(1), tl.num_programs(1)
    is_output = output < outputs
    total = tl.zeros((OUT,), dtype=tl.float32)
    for part in range(PARTS):
        total += tl.load(sums + (part * tokens + token) * outputs + output, mask=is_output, other=0.0)
    if HAS_BIAS:
        total += tl.load(bias + output, mask=is_output, other=0.0).to(tl.float32)
    tl.store(y + token * outputs + output, total.to(y.dtype.element_ty), mask=is_output)
