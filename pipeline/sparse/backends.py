"""The ways to run a sparse linear map on a few tokens: one row each, chosen by what the tensors are.

`reference` masks the input and multiplies densely: any device, any dtype, no time saved; it defines the meaning.
`numba` and `triton` do not read the weights of masked inputs. All compute

    y = bias + W x',   x'_i = 0 if |x_i| <= cutoff_i, else x_i

and differ in the rounding of the sums alone. A backend is built once for a map, from its weights and the cutoffs of
every group, and then called with the tokens and the group of each. Nothing else in the pipeline knows one by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Protocol

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.functional import linear

from pipeline.errors import UserError, unknown
from pipeline.sparse import gather, reference

AUTO = "auto"
"""In place of a name: the first backend that takes the tensors."""

_WHERE = "the backend of sparse decoding"


@dataclass(frozen=True)
class Call:
    """What a backend is asked to multiply.

    Attributes:
        device: `cpu`, `cuda` ..., of inputs and weights.
        dtype: of inputs and weights.
        tokens: tokens in one call.
    """

    device: str
    dtype: torch.dtype
    tokens: int


class SparseLinear(Protocol):
    """A linear map whose inputs are masked, made for one map and all groups."""

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens out"]:
        """The map of the masked inputs, in the dtype of x; `groups` is int64 and its numbers are not checked."""
        ...


Build = Callable[[Float[Tensor, "out in"], Float[Tensor, " out"] | None, Float32[Tensor, "groups in"]], SparseLinear]


@dataclass(frozen=True)
class Backend:
    """One row of `BACKENDS`.

    Attributes:
        refusal: why it cannot run a call; None if it can.
        build: the map from its weight, its bias and the cutoffs of every group, all on one device.
    """

    refusal: Callable[[Call], str | None]
    build: Build


def choose(name: str, call: Call) -> str:
    """The name of the backend that runs the call.

    Args:
        name: a name in `BACKENDS`, or `AUTO` for the first one in its order that takes the call.

    Raises:
        UserError: unknown name; or the named backend cannot run the call, with its reason and those that can.
    """
    able = [other for other, row in BACKENDS.items() if row.refusal(call) is None]
    if name == AUTO:
        return able[0]
    if name not in BACKENDS:
        raise unknown("backend", name, (*BACKENDS, AUTO), _WHERE)
    reason = BACKENDS[name].refusal(call)
    if reason is None:
        return name
    raise UserError(
        f"Backend {name} needs {reason}",
        found=f"{call.tokens} tokens in {str(call.dtype).removeprefix('torch.')} on {call.device}",
        where=_WHERE,
        remedy=f"choose {' or '.join((*able, AUTO))}",
    )


def _refuses_triton(call: Call) -> str | None:
    if find_spec("triton") is None:
        return "the package `triton`, which comes with the CUDA builds of PyTorch"
    # Triton's interpreter, which only tests use, runs kernels on the CPU.
    if call.device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "a CUDA device"
    if call.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return "float16, bfloat16 or float32"
    return _refuses_many(call)


def _refuses_numba(call: Call) -> str | None:
    if call.device != "cpu":
        return "the CPU"
    if call.dtype != torch.float32:
        return "float32, because it would have to convert weights of another type to it"
    return _refuses_many(call)


def _refuses_many(call: Call) -> str | None:
    return None if 1 <= call.tokens <= gather.MOST_TOKENS else f"1 to {gather.MOST_TOKENS} tokens per call"


def _triton(weight: Tensor, bias: Tensor | None, cutoffs: Tensor) -> SparseLinear:
    from pipeline.sparse import triton_gather

    by_input = weight.detach().t().contiguous()

    def run(x: Tensor, groups: Tensor) -> Tensor:
        return triton_gather.linear(x, by_input, cutoffs, groups, bias)

    return run


def _numba(weight: Tensor, bias: Tensor | None, cutoffs: Tensor) -> SparseLinear:
    by_input = weight.detach().t().contiguous()

    def run(x: Tensor, groups: Tensor) -> Tensor:
        y = gather.linear(x, by_input, cutoffs, groups)
        return y if bias is None else y.add_(bias)

    return run


def _reference(weight: Tensor, bias: Tensor | None, cutoffs: Tensor) -> SparseLinear:
    def run(x: Tensor, groups: Tensor) -> Tensor:
        everything = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        kept = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        masked = reference.mask(x[:, None], cutoffs, groups, everything, kept)
        return linear(masked[:, 0], weight, bias)

    return run


BACKENDS: dict[str, Backend] = {
    "numba": Backend(_refuses_numba, _numba),
    "triton": Backend(_refuses_triton, _triton),
    "reference": Backend(lambda _call: None, _reference),
}
