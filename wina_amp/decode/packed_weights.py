"""Weights of a projection as the gather on a CPU reads them: input-major `[in, out]`, in float32 or bfloat16.

A row holds all weights of one input, so that what a masked input gates is memory that nobody touches. bfloat16 is kept
as bits, because numba does not know the type. Nothing is copied if the parameter is stored input-major already
(`wina_amp/decode/input_major.py`).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from wina_amp.names import BFLOAT16, Weights

_HUGE_PAGE = 1 << 21


def pack(weight: Float[Tensor, "out in"], weights: Weights) -> ndarray:
    """The rows of a matrix, contiguous: float32, or the bits of bfloat16 as uint16.

    Args:
        weight: the matrix, float32 or bfloat16.
        weights: how it is stored (`wina_amp.names.WEIGHTS`).
    """
    rows = weight.detach().cpu().t()
    dtype = torch.bfloat16 if weights == BFLOAT16 else rows.dtype
    if rows.dtype != dtype or not rows.is_contiguous():
        rows = _memory(*rows.shape, dtype).copy_(rows)
    return (rows.view(torch.uint16) if dtype == torch.bfloat16 else rows).numpy()


def unpacked(rows: ndarray) -> Float32[Tensor, "out in"]:
    """The matrix that packed rows stand for, in float32."""
    numbers = torch.from_numpy(rows)
    return (numbers.view(torch.bfloat16) if rows.dtype == np.uint16 else numbers).float().t()


def _memory(inputs: int, outputs: int, dtype: torch.dtype) -> Tensor:
    """Memory for rows, which begin with a cache line, or with a huge page where there are several: numpy asks for these
    (Linux) from 4 MB on. With small pages, kept rows of 900 bytes came a fifth slower."""
    size = inputs * outputs * dtype.itemsize
    alignment = _HUGE_PAGE if size >= 2 * _HUGE_PAGE else 64
    memory = np.empty(size + alignment, np.uint8)
    first = -memory.ctypes.data % alignment
    return torch.from_numpy(memory[first : first + size]).view(dtype).reshape(inputs, outputs)
