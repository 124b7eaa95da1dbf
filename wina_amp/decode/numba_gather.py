"""Sparse decoding on a CPU: only the weights of inputs that some token keeps are read (numba, float32).

    y_b = bias + sum over i with |x_bi| > cutoff_bi, in ascending order, of x_bi * W[:, i]

Decoding is bound by the reading of weights, so time falls with the fraction of inputs that are kept. Weights are stored
input-major, `[in, out]`: what an input gates is one contiguous run of memory, and what a masked input gates is a run
that nobody touches. A batch reads the union of what its tokens keep, once.

Threads split the OUTPUTS. No two threads add to one number, so there is no reduction, and the order of every sum is
the order of its inputs. Eight inputs are added per pass over the outputs, which reads and writes the sums an eighth as
often (4 measured the same, prefetching by hand twice as slow). The sums are plain float32 sums in
sequence: against float64 they are at most 1.1e-5 of the outputs' standard deviation off at 14,336 random inputs, where
torch's product is 1.3e-5 off.

Only float32. numba knows neither bfloat16 nor float16, and weights converted to float32 would be twice the bytes: at
density 0.5 a gather would read as much as the dense product in half precision does.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numba
import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy.typing import NDArray
from torch import Tensor

from wina_amp.masks.compiled import njit

_TILE = 4096
"""Sums that are worked on at a time, together 16 KB: they stay in the L1 cache while weights pass by."""

_WEIGHTS_PER_THREAD = 1 << 17
"""Fewer are read faster than another thread is woken."""

_ONE_AT_A_TIME = threading.Lock()
"""Products of several threads run one after the other: numba ends the process if its own thread pool, which it takes
where there is no OpenMP, is entered twice, and one product keeps memory busy."""


def linear(
    x: Float32[Tensor, "tokens in"],
    weight: Float32[Tensor, "in out"],
    cutoffs: Float32[Tensor, "groups in"],
    groups: Int[Tensor, " tokens"],
    threads: int | None = None,
) -> Float32[Tensor, "tokens out"]:
    """The product of a projection with its masked inputs, without bias.

    Args:
        x: inputs, at least one token; all are masked.
        weight: the projection's matrix, transposed and contiguous.
        cutoffs: largest magnitude that is masked, per group and input (`wina_amp.masks.cutoffs`), contiguous.
        groups: group of every token, int64, below the number of groups (not checked here).
        threads: how many to use at most; None: as many as torch uses.

    Guarantee: the same bits for any number of threads, and for a token alone or in any batch. A NaN is kept, as by
        `wina_amp.masks.reference`. Weights must be finite: one that is not may reach the tokens that mask its input.

    Raises:
        ValueError: inputs, weights and cutoffs of different widths, which compiled code would read past.
    """
    if not x.shape[1] == weight.shape[0] == cutoffs.shape[1]:
        widths = f"{x.shape[1]}, {weight.shape[0]}, {cutoffs.shape[1]}"
        raise ValueError(f"x, weight and cutoffs must have as many inputs each, got {widths}")
    useful = max(1, min(torch.get_num_threads(), weight.numel() // _WEIGHTS_PER_THREAD))
    used = useful if threads is None else threads
    y = torch.empty(len(x), weight.shape[1], dtype=torch.float32)
    with _ONE_AT_A_TIME, _numba_threads(used):
        _linear(x.contiguous().numpy(), weight.numpy(), cutoffs.numpy(), groups.numpy(), y.numpy(), used)
    return y


@contextmanager
def _numba_threads(number: int) -> Generator[None]:
    """Wake only as many of numba's threads as have work, and leave torch's number of threads as it was: numba sets the
    number of OpenMP, which it shares with torch, when it starts its threads."""
    of_torch = torch.get_num_threads()
    before = numba.get_num_threads()  # the first call starts the threads
    numba.set_num_threads(min(number, cast(Any, numba.config).NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        numba.set_num_threads(before)
        if torch.get_num_threads() != of_torch:
            torch.set_num_threads(of_torch)


@njit(nogil=True, parallel=True)
def _linear(
    x: NDArray[np.float32],
    weight: NDArray[np.float32],
    cutoffs: NDArray[np.float32],
    groups: NDArray[np.int64],
    y: NDArray[np.float32],
    threads: int,
) -> None:
    inputs, values = _kept(x, cutoffs, groups)
    outputs = weight.shape[1]
    span = ((outputs + threads - 1) // threads + 15) // 16 * 16  # whole cache lines
    for thread in numba.prange(threads):
        start, stop = min(thread * span, outputs), min((thread + 1) * span, outputs)
        _add(inputs, values, weight, y, start, stop)


@njit(nogil=True)
def _kept(
    x: NDArray[np.float32], cutoffs: NDArray[np.float32], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Inputs that any token keeps, ascending, and what each token has there (0 where it masks). The number is filled up
    to whole passes of 8 with the last input and zeros, which change no sum."""
    tokens, features = x.shape
    inputs = np.empty(features + 8, np.int64)
    values = np.zeros((tokens, features + 8), np.float32)
    number = 0
    for feature in range(features):
        is_kept = False
        for token in range(tokens):
            value = x[token, feature]
            if not abs(value) <= cutoffs[groups[token], feature]:
                values[token, number] = value
                is_kept = True
        if is_kept:
            inputs[number] = feature
            number += 1
    while number % 8:
        inputs[number] = inputs[number - 1]
        number += 1
    return inputs[:number], values[:, :number]


# `contract` alone of the fast-math flags: a product and its addition are rounded once. It reorders nothing.
@njit(nogil=True, fastmath={"contract"})
def _add(
    inputs: NDArray[np.int64],
    values: NDArray[np.float32],
    weight: NDArray[np.float32],
    y: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    tokens = len(y)
    tile = _TILE // tokens
    for left in range(start, stop, tile):
        right = min(left + tile, stop)
        for token in range(tokens):
            y[token, left:right] = 0
        for first in range(0, len(inputs), 8):
            w0, w1 = weight[inputs[first], left:right], weight[inputs[first + 1], left:right]
            w2, w3 = weight[inputs[first + 2], left:right], weight[inputs[first + 3], left:right]
            w4, w5 = weight[inputs[first + 4], left:right], weight[inputs[first + 5], left:right]
            w6, w7 = weight[inputs[first + 6], left:right], weight[inputs[first + 7], left:right]
            for token in range(tokens):
                x = values[token, first : first + 8]
                x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
                sums = y[token, left:right]
                for output in range(right - left):
                    total = sums[output] + x0 * w0[output]
                    total += x1 * w1[output]
                    total += x2 * w2[output]
                    total += x3 * w3[output]
                    total += x4 * w4[output]
                    total += x5 * w5[output]
                    total += x6 * w6[output]
                    total += x7 * w7[output]
                    sums[output] = total
