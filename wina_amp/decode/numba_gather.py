"""Sparse decoding on a CPU: only the weights of inputs that some token keeps are read (numba).

    y_b = bias + sum over i with |x_bi| > cutoff_bi, in ascending order, of x_bi * W[:, i]

Decoding is bound by the reading of weights, so time falls with the fraction of inputs that are kept, and with the bytes
of a weight. Weights are stored input-major, `[in, out]`, in float32 or bfloat16 (`packed_weights.py`): what an
input gates is one contiguous run of memory, and what a masked input gates is a run that nobody touches. A batch reads
the union of what its tokens keep, once. All become float32 in registers and are summed in it: LLVM makes vectors of 16
of the conversions.

Threads split the OUTPUTS. No two threads add to one number, so there is no reduction, and the order of every sum is
the order of its inputs. Eight inputs are added per pass over the outputs, which reads and writes the sums an eighth as
often (4 measured the same). The sums are plain float32 sums in
sequence: against float64 they are at most 1.1e-5 of the outputs' standard deviation off at 14,336 random inputs, where
torch's product is 1.3e-5 off.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import numba
import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic, overload
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import silu

from wina_amp.decode.masked_projections import MaskedProjection, halves
from wina_amp.decode.packed_weights import pack
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


class Masked(NamedTuple):
    """The projections of one input, for compiled code: of each an array."""

    cutoffs: tuple[Float32[ndarray, "groups in"], ...]
    rows: tuple[ndarray, ...]
    biases: tuple[Float32[ndarray, " out"], ...]


class Gather:
    """The projections of one input (`masked_projections.SparseProjections`).

    Args:
        projections: of the same width and dtype, on the CPU.

    Attributes:
        masked: their arrays.
        width: outputs of all of them.

    Guarantee: the same bits for any number of threads, and for a token alone or in any batch. A NaN is kept, as by
        `wina_amp.masks.reference`. Weights must be finite: one that is not may reach the tokens that mask its input.

    Raises:
        ValueError: weights and cutoffs of different numbers of inputs, which compiled code would read past.
    """

    def __init__(self, projections: Sequence[MaskedProjection]) -> None:
        inputs = {tensor.shape[1] for masked in projections for tensor in (masked.weight, masked.cutoffs)}
        if len(inputs) != 1:
            raise ValueError(f"weights and cutoffs must have as many inputs each, got {sorted(inputs)}")
        self._inputs = inputs.pop()
        self._outputs = [len(masked.weight) for masked in projections]
        self.width = sum(self._outputs)
        self.masked = Masked(
            tuple(masked.cutoffs.contiguous().numpy() for masked in projections),
            tuple(pack(masked.weight, masked.weights) for masked in projections),
            tuple(_bias(masked) for masked in projections),
        )

    def __call__(
        self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"], threads: int | None = None
    ) -> tuple[Tensor, ...]:
        """See `SparseProjections`.

        Args:
            x: inputs, at least one token; all are masked.
            groups: group of every token.
            threads: how many to use at most; None: as many as torch uses.

        Raises:
            ValueError: inputs of another width.
        """
        if x.shape[1] != self._inputs:
            raise ValueError(
                f"x and the projections must have as many inputs each, got {x.shape[1]} and {self._inputs}"
            )
        y = torch.empty(len(x), self.width, dtype=torch.float32)
        used = self.threads if threads is None else threads
        inputs, first = x.float().contiguous().numpy(), 0
        with running(used):
            for arrays, outputs in zip(zip(*self.masked, strict=True), self._outputs, strict=True):
                _projection(inputs, groups.numpy(), *arrays, y.numpy(), first, used)
                first += outputs
        return y.to(x.dtype).split(self._outputs, dim=1)

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """See `SparseProjections`."""
        gate, up = halves(self(x, groups))
        return silu(gate) * up

    @property
    def threads(self) -> int:
        """How many have work."""
        return max(1, min(torch.get_num_threads(), self._inputs * self.width // _WEIGHTS_PER_THREAD))


def _bias(masked: MaskedProjection) -> Float32[ndarray, " out"]:
    if masked.bias is None:
        return np.zeros(len(masked.weight), np.float32)
    return masked.bias.detach().float().numpy()


@contextmanager
def running(threads: int) -> Generator[None]:
    """Run compiled code that has work for so many threads, alone: nobody else's meanwhile."""
    with _ONE_AT_A_TIME, _numba_threads(threads):
        yield


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
def _projection(
    x: NDArray[np.float32],
    groups: NDArray[np.int64],
    cutoffs: NDArray[np.float32],
    rows: NDArray[Any],
    bias: NDArray[np.float32],
    y: NDArray[np.float32],
    first: int,
    threads: int,
) -> None:
    for thread in numba.prange(threads):
        _product(x, groups, cutoffs, rows, bias, y, first, thread, threads)


@njit(nogil=True)
def products(
    x: NDArray[np.float32], groups: NDArray[np.int64], masked: Masked, y: NDArray[np.float32], thread: int, threads: int
) -> None:
    """One thread's outputs of the projections of one input, which stand side by side in y."""
    cutoffs, rows, biases = masked
    first = 0
    for n in range(len(rows)):
        _product(x, groups, cutoffs[n], rows[n], biases[n], y, first, thread, threads)
        first += len(biases[n])


@njit(nogil=True)
def _product(
    x: NDArray[np.float32],
    groups: NDArray[np.int64],
    cutoffs: NDArray[np.float32],
    rows: NDArray[Any],
    bias: NDArray[np.float32],
    y: NDArray[np.float32],
    first: int,
    thread: int,
    threads: int,
) -> None:
    """One thread's outputs of a projection, whose outputs begin at the column `first` of y."""
    start, stop = span(len(bias), thread, threads)
    if start >= stop:
        return
    inputs, values = _kept(x, cutoffs, groups)
    _add(inputs, values, rows, bias, y, first, start, stop)


@njit(nogil=True)
def span(outputs: int, thread: int, threads: int) -> tuple[int, int]:
    """One thread's outputs: whole cache lines of weights, of bytes too."""
    size = ((outputs + threads - 1) // threads + 63) // 64 * 64
    return min(thread * size, outputs), min((thread + 1) * size, outputs)


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


@overload(_float32)
def _float32_of(stored):  # noqa: ANN001, ANN202 - numba compares the parameters of both functions
    if stored == numba.uint16:  # the bits of bfloat16
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(16)).view(np.float32)
    return lambda stored: np.float32(stored)


@intrinsic
def _fetch(_context, row, position):  # noqa: ANN001, ANN202 - numba's form
    """Ask for the cache line of `row[position]`, into the L2 cache. Into the L1 cache, which waits for fewer lines at a
    time, rows of 900 bytes came at half the speed."""

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
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
    bias: NDArray[np.float32],
    y: NDArray[np.float32],
    first: int,
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
            y[token, first + left : first + right] = 0
        for kept in range(0, len(inputs) - 8, 8):
            for low in range(left, right, block):
                high = min(low + block, right)
                for number in range(kept + 8, kept + 16):
                    following = rows[inputs[number]]
                    for position in range(low, high, line):
                        _fetch(following, position)
                w0, w1 = rows[inputs[kept], low:high], rows[inputs[kept + 1], low:high]
                w2, w3 = rows[inputs[kept + 2], low:high], rows[inputs[kept + 3], low:high]
                w4, w5 = rows[inputs[kept + 4], low:high], rows[inputs[kept + 5], low:high]
                w6, w7 = rows[inputs[kept + 6], low:high], rows[inputs[kept + 7], low:high]
                for token in range(tokens):
                    x = values[token, kept : kept + 8]
                    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
                    sums = y[token, first + low : first + high]
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
        for token in range(tokens):
            sums = y[token, first + left : first + right]
            for output in range(right - left):
                sums[output] += bias[left + output]
