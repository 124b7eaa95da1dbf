"""Sparse decoding on a CPU: only the weights of inputs that some token keeps are read (numba).

    y_b = bias + sum over i with |x_bi| > cutoff_bi, in ascending order, of x_bi * W[:, i]

Decoding is bound by the reading of weights, so time falls with the fraction of inputs that are kept, and with the bytes
of a weight. Weights are stored input-major, `[in, out]`, in float32 or bfloat16, which becomes float32 in registers:
what an input gates is one contiguous run of memory, and what a masked input gates is a run that nobody touches. A batch
reads the union of what its tokens keep, once.

Threads split the OUTPUTS. No two threads add to one number, so there is no reduction, and the order of every sum is
the order of its inputs. Eight inputs are added per pass over the outputs, which reads and writes the sums an eighth as
often (4 measured the same). The sums are plain float32 sums in
sequence: against float64 they are at most 1.1e-5 of the outputs' standard deviation off at 14,336 random inputs, where
torch's product is 1.3e-5 off.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import numba
import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy.typing import NDArray
from torch import Tensor

from wina_amp.masks.compiled import njit

_TILE = 1 << 14
"""Sums that are worked on at a time, together 64 KB: they stay in the L2 cache while weights pass by. With 4096, which
stay in the L1 cache, runs of memory are too short: 25 in place of 30 GB/s in bfloat16."""

_BLOCK = 512
"""Bytes of each of eight rows that are added before the next ones of theirs, and fetched of the following eight."""

_WEIGHTS_PER_THREAD = 1 << 17
"""Fewer are read faster than another thread is woken."""

_ONE_AT_A_TIME = threading.Lock()
"""Products of several threads run one after the other: numba ends the process if its own thread pool, which it takes
where there is no OpenMP, is entered twice, and one product keeps memory busy."""


def linear(
    x: Float32[Tensor, "tokens in"],
    weight: Float[Tensor, "in out"],
    cutoffs: Float32[Tensor, "groups in"],
    groups: Int[Tensor, " tokens"],
    threads: int | None = None,
) -> Float32[Tensor, "tokens out"]:
    """The product of a projection with its masked inputs, without bias.

    Args:
        x: inputs, at least one token; all are masked.
        weight: the projection's matrix, transposed and contiguous, float32 or bfloat16.
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
    rows = (weight.view(torch.uint16) if weight.dtype == torch.bfloat16 else weight).numpy()  # numba has no bfloat16
    with _ONE_AT_A_TIME, _numba_threads(used):
        _linear(x.contiguous().numpy(), rows, cutoffs.numpy(), groups.numpy(), y.numpy(), used)
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
    rows: NDArray[Any],
    cutoffs: NDArray[np.float32],
    groups: NDArray[np.int64],
    y: NDArray[np.float32],
    threads: int,
) -> None:
    inputs, values = _kept(x, cutoffs, groups)
    outputs = rows.shape[1]
    span = ((outputs + threads - 1) // threads + 31) // 32 * 32  # whole cache lines of either format
    for thread in numba.prange(threads):
        start, stop = min(thread * span, outputs), min((thread + 1) * span, outputs)
        _add(inputs, values, rows, y, start, stop)


@njit(nogil=True)
def _kept(
    x: NDArray[np.float32], cutoffs: NDArray[np.float32], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Inputs that any token keeps, ascending, and what each token has there (0 where it masks). The number is filled up
    to whole passes of 8 with the last input and zeros, which change no sum, and by another 8 inputs to fetch.

    Without branches: at half of all inputs kept, every other one would be predicted wrong."""
    tokens, features = x.shape
    inputs = np.empty(features + 16, np.int64)
    values = np.empty((tokens, features + 8), np.float32)
    number = 0
    for feature in range(features):
        is_kept = False
        for token in range(tokens):
            value = x[token, feature]
            is_own = not abs(value) <= cutoffs[groups[token], feature]
            values[token, number] = value if is_own else np.float32(0)
            is_kept |= is_own
        inputs[number] = feature
        number += is_kept
    values[:, number : number + 8] = 0
    while number % 8:
        inputs[number] = inputs[number - 1]
        number += 1
    inputs[number : number + 8] = inputs[number - 1]
    return inputs[: number + 8], values[:, :number]


def _float32(stored: Any) -> Any:
    """A stored weight as float32, in compiled code: `_float32_of` says how."""
    raise NotImplementedError


# Without annotations: numba compares the parameters of both functions, annotations and all.
@overload(_float32)
def _float32_of(stored):  # noqa: ANN001, ANN202  # pyright: ignore[reportUnusedFunction, reportMissingParameterType]
    if stored == numba.uint16:  # the bits of bfloat16
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(16)).view(np.float32)
    return lambda stored: np.float32(stored)


@intrinsic
def _fetch(_context: Any, row: Any, position: Any) -> Any:
    """Ask for the cache line of `row[position]`, into the L2 cache. Into the L1 cache, which waits for fewer lines at a
    time, rows of 900 bytes came at half the speed."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = cgutils.get_item_pointer(context, builder, signature.args[0], array, [arguments[1]])
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        for_reading, into_l2, data = (ir.Constant(number, value) for value in (0, 2, 1))
        builder.call(prefetch, [builder.bitcast(address, pointer), for_reading, into_l2, data])
        return context.get_dummy_value()

    return numba.void(row, position), generate


# `contract` alone of the fast-math flags: a product and its addition are rounded once. It reorders nothing.
@njit(nogil=True, fastmath={"contract"})
def _add(
    inputs: NDArray[np.int64],
    values: NDArray[np.float32],
    rows: NDArray[Any],
    y: NDArray[np.float32],
    start: int,
    stop: int,
) -> None:
    """Outputs `start` to `stop` of a projection. While eight inputs are added, the rows of the next eight are fetched,
    which no hardware can foresee."""
    tokens, line, block = len(y), 64 // rows.itemsize, _BLOCK // rows.itemsize
    tile = _TILE // tokens
    for left in range(start, stop, tile):
        right = min(left + tile, stop)
        for token in range(tokens):
            y[token, left:right] = 0
        for kept in range(0, len(inputs) - 8, 8):
            for low in range(left, right, block):
                high = min(low + block, right)
                for number in range(kept + 8, kept + 16):
                    following = rows[inputs[number]]
                    for position in range(low, high, line):
                        _fetch(following, position)  # pyright: ignore[reportCallIssue]
                w0, w1 = rows[inputs[kept], low:high], rows[inputs[kept + 1], low:high]
                w2, w3 = rows[inputs[kept + 2], low:high], rows[inputs[kept + 3], low:high]
                w4, w5 = rows[inputs[kept + 4], low:high], rows[inputs[kept + 5], low:high]
                w6, w7 = rows[inputs[kept + 6], low:high], rows[inputs[kept + 7], low:high]
                for token in range(tokens):
                    x = values[token, kept : kept + 8]
                    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
                    sums = y[token, low:high]
                    for output in range(high - low):
                        total = sums[output] + x0 * _float32(w0[output])
                        total += x1 * _float32(w1[output])
                        total += x2 * _float32(w2[output])
                        total += x3 * _float32(w3[output])
                        total += x4 * _float32(w4[output])
                        total += x5 * _float32(w5[output])
                        total += x6 * _float32(w6[output])
                        total += x7 * _float32(w7[output])
                        sums[output] = total
