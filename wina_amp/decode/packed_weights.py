"""Weights of a projection as the gather on a CPU reads them: input-major, in float32, bfloat16 or int8.

    W[o, i] ~ rows[i, o] * group_scale[i, o // 32] * output_scale[o]

A row holds all weights of one input, so that what a masked input gates is memory that nobody touches. int8 has a scale
for every input and 32 outputs, by which the largest of these weights becomes 127, in bfloat16: 8.5 bits a weight, as
llama.cpp's Q8_0, whose groups are of inputs. A scale multiplies the input, once for 32 outputs. That of an output, the
root mean square of its weights, multiplies the finished sum: outputs of a group differ in size less when divided by it.
docs/performance.md has what coarser scales cost.

bfloat16 is kept as bits (numba does not know the type), and so is float32, which is not copied if the parameter is
stored input-major already (`wina_amp/decode/input_major.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt16
from numpy import ndarray
from torch import Tensor
from torch.nn.functional import pad

from wina_amp.errors import UserError
from wina_amp.names import BFLOAT16, INT8, Weights

GROUP = 32
"""Outputs that share a scale of an input."""

_LARGEST = 127
"""A scale that bfloat16 rounds down makes 127.25 of it at most, which is rounded to 127."""

_ROWS = 4096
"""Outputs that are packed at a time, so that packing needs little memory beside what it makes."""

_HUGE_PAGE = 1 << 21


@dataclass(frozen=True)
class PackedWeight:
    """A projection's matrix, packed.

    Attributes:
        rows: contiguous: `[in, out]` float32 or the bits of bfloat16 as uint16; `[in, groups, 32]` int8, whose last
            group is filled up with zeros.
        group_scale: bits of bfloat16; of no groups if it is not int8.
        output_scale: 1 if it is not int8.
    """

    rows: ndarray
    group_scale: UInt16[ndarray, "in groups"]
    output_scale: Float32[ndarray, " out"]

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return self.rows.nbytes + self.group_scale.nbytes + self.output_scale.nbytes

    def unpacked(self) -> Float32[Tensor, "out in"]:
        """The matrix that these numbers stand for, in float32."""
        rows = torch.from_numpy(self.rows)
        if self.rows.dtype == np.int8:
            scale = torch.from_numpy(self.group_scale).view(torch.bfloat16).float()
            scaled = (rows * scale[:, :, None]).flatten(1)[:, : len(self.output_scale)]
            return (scaled * torch.from_numpy(self.output_scale)).t().contiguous()
        return (rows.view(torch.bfloat16) if self.rows.dtype == np.uint16 else rows).float().t().contiguous()


def pack(weight: Float[Tensor, "out in"], weights: Weights) -> PackedWeight:
    """Pack a matrix, float32 or bfloat16; what it makes is on the CPU.

    Args:
        weight: the matrix.
        weights: how it is stored (`wina_amp.names.WEIGHTS`).

    Guarantee: int8 is off by at most half a unit of group_scale * output_scale, give or take float32 rounding.

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
    return PackedWeight(numbers, np.empty((inputs, 0), np.uint16), np.ones(outputs, np.float32))


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
    groups = -(-outputs // GROUP)
    rows = _memory(inputs, groups * GROUP, torch.int8).view(inputs, groups, GROUP)
    group_scale = torch.empty(inputs, groups, dtype=torch.bfloat16)
    output_scale = torch.empty(outputs)
    for first in range(0, outputs, _ROWS):
        part, of_part = slice(first, first + _ROWS), slice(first // GROUP, (first + _ROWS) // GROUP)
        values = weight[part].float()
        output_scale[part] = _divisor(values.square().mean(dim=1).sqrt())
        values = pad(values / output_scale[part, None], (0, 0, 0, -len(values) % GROUP))
        values = values.t().reshape(inputs, -1, GROUP)
        scale = _divisor((values.abs().amax(dim=2) / _LARGEST).bfloat16())
        if not bool(scale.isfinite().all() and output_scale[part].isfinite().all()):
            raise UserError(
                "Weights must be finite to be stored as int8",
                found="a weight that is infinite or no number",
                where=f"a projection of {inputs} inputs and {outputs} outputs",
                remedy="load a sound checkpoint, or leave `weights` out",
            )
        group_scale[:, of_part] = scale
        rows[:, of_part] = (values / scale.float()[:, :, None]).round_().to(torch.int8)
    return PackedWeight(rows.numpy(), group_scale.view(torch.uint16).numpy(), output_scale.numpy())


def _divisor(size: Tensor) -> Tensor:
    """Sizes of weights, and 1 where all are 0."""
    return torch.where(size == 0, 1.0, size)
