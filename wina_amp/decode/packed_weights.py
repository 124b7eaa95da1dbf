"""Weights of a projection as the gather on a CPU reads them: input-major, in float32, bfloat16 or int8.

    W[o, i] ~ rows[i, o] * input_scale[i] * output_scale[o]

A row holds all weights of one input, so that what a masked input gates is memory that nobody touches. The scales of
int8 are of rank one and cost the inner loop nothing: that of an input multiplies the input, that of an output the
finished sum. Both are root mean squares, balanced by turns (Sinkhorn), so that an input or output with large weights
spoils no other; then every input's largest weight becomes 127. Balancing the largest weights instead, an input with
large ones sets the scale of every output. A scale for every input and group of outputs would be read with the weights
and multiplied inside the loop; docs/performance.md has the errors of either.

bfloat16 is kept as bits (numba does not know the type), with scales of 1, and so is float32, which is not copied if the
parameter is stored input-major already (`wina_amp/decode/input_major.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from wina_amp.errors import UserError
from wina_amp.names import BFLOAT16, INT8, Weights

_LARGEST = 127

_ROUNDS = 2
"""Times that the scales of outputs and inputs are balanced. Four change the error of real weights by nothing."""

_ROWS = 4096
"""Outputs that are packed at a time, so that packing needs little memory beside what it makes."""

_HUGE_PAGE = 1 << 21


@dataclass(frozen=True)
class PackedWeight:
    """A projection's matrix, packed.

    Attributes:
        rows: `[in, out]`, contiguous: float32, the bits of bfloat16 as uint16, or int8.
        input_scale: float32; 1 if it is not int8.
        output_scale: the same.
    """

    rows: ndarray
    input_scale: Float32[ndarray, " in"]
    output_scale: Float32[ndarray, " out"]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.rows.nbytes + self.input_scale.nbytes + self.output_scale.nbytes

    def unpacked(self) -> Float32[Tensor, "out in"]:
        """The matrix that these numbers stand for, in float32."""
        rows = torch.from_numpy(self.rows)
        rows = rows.view(torch.bfloat16).float() if self.rows.dtype == np.uint16 else rows.float()
        scaled = rows * torch.from_numpy(self.input_scale)[:, None] * torch.from_numpy(self.output_scale)
        return scaled.t().contiguous()


def pack(weight: Float[Tensor, "out in"], weights: Weights) -> PackedWeight:
    """Pack a matrix, float32 or bfloat16; what it makes is on the CPU.

    Args:
        weight: the matrix.
        weights: how it is stored (`wina_amp.names.WEIGHTS`).

    Guarantee: int8 is off by at most half a unit of input_scale * output_scale, give or take float32 rounding.

    Raises:
        UserError: a weight that is not finite, as int8.
    """
    weight = weight.detach().cpu()
    outputs, inputs = weight.shape
    if weights == INT8:
        return _int8(weight)
    is_half = weights == BFLOAT16 or weight.dtype == torch.bfloat16
    dtype = torch.bfloat16 if is_half else torch.float32
    rows = weight.t()
    if rows.dtype != dtype or not rows.is_contiguous():
        rows = _memory(inputs, outputs, dtype).copy_(rows)
    numbers = (rows.view(torch.uint16) if is_half else rows).numpy()
    return PackedWeight(numbers, np.ones(inputs, np.float32), np.ones(outputs, np.float32))


def _memory(inputs: int, outputs: int, dtype: torch.dtype) -> Tensor:
    """Memory for rows, which begin with a cache line, or with a huge page where there are several: numpy asks for these
    (Linux) from 4 MB on. With small pages, kept rows of 900 bytes came a fifth slower."""
    size = inputs * outputs * dtype.itemsize
    alignment = _HUGE_PAGE if size >= 2 * _HUGE_PAGE else 64
    memory = np.empty(size + alignment, np.uint8)
    first = -memory.ctypes.data % alignment
    return torch.from_numpy(memory[first : first + size]).view(dtype).reshape(inputs, outputs)


def _int8(weight: Tensor) -> PackedWeight:
    outputs, inputs = weight.shape
    of_input, of_output = torch.ones(inputs), torch.ones(outputs)
    parts = [slice(first, first + _ROWS) for first in range(0, outputs, _ROWS)]
    for _ in range(_ROUNDS):
        for part in parts:
            of_output[part] = _divisor((weight[part].float() / of_input).square().mean(dim=1).sqrt())
        squares = sum((weight[part].float() / of_output[part, None]).square().sum(dim=0) for part in parts)
        of_input = _divisor((torch.as_tensor(squares) / outputs).sqrt())
    largest = [(weight[part].float() / of_output[part, None]).abs().amax(dim=0) for part in parts]
    of_input = _divisor(torch.stack(largest).amax(dim=0))
    if not bool(of_input.isfinite().all() and of_output.isfinite().all()):
        raise UserError(
            "Weights must be finite to be stored as int8",
            found="a weight that is infinite or no number",
            where=f"a projection of {inputs} inputs and {outputs} outputs",
            remedy="load a sound checkpoint, or leave `weights` out",
        )
    of_input /= _LARGEST
    rows = _memory(inputs, outputs, torch.int8)
    for part in parts:
        rows[:, part] = (weight[part].float() / of_output[part, None] / of_input).round_().to(torch.int8).t()
    return PackedWeight(rows.numpy(), of_input.numpy(), of_output.numpy())


def _divisor(size: Tensor) -> Tensor:
    """The size of a row or column of weights; 1 where all are 0."""
    return torch.where(size == 0, 1.0, size)
