"""The ways to run a sparse projection on a few tokens: one row each, chosen by device, dtype and number of tokens.

`reference` masks the input and multiplies densely: any device, any dtype, no time saved; it defines the meaning.
`numba` and `triton` do not read the weights of masked inputs. `numba` and `reference` also compute with weights rounded
to bfloat16, which `numba` reads. All compute

    y = bias + W x',   x'_i = 0 if |x_i| <= cutoff_i, else x_i

and differ in the rounding of the sums alone. A backend is built once for all projections that read one input, from the
weights of each and its cutoffs for every group (`masked_projections.py`), and then called with the tokens and their
groups. `triton` runs them in one launch; `numba` and `reference` one after the other, because on a CPU reading the
input again costs nothing beside reading weights. numba and triton are optional: a backend whose package is missing is
refused by name, and not chosen by `AUTO`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.functional import linear

from wina_amp.decode.masked_projections import MOST_TOKENS, MaskedProjection, Separate, SparseLinear, SparseProjections
from wina_amp.errors import UserError, unknown
from wina_amp.masks import reference
from wina_amp.names import AUTO, BFLOAT16, NUMBA, REFERENCE, TRITON, Weights

_WHERE = "the backend of sparse decoding"


@dataclass(frozen=True)
class Call:
    """The device, dtype and number of tokens of one product.

    Attributes:
        device: `cpu`, `cuda` ..., of inputs and weights.
        dtype: of inputs and weights.
        tokens: tokens in one call.
        is_autocast: whether `torch.autocast` decides on the dtype of products.
        weights: how weights are stored.
    """

    device: str
    dtype: torch.dtype
    tokens: int
    is_autocast: bool = False
    weights: Weights = "copy"


Build = Callable[[Sequence[MaskedProjection]], SparseProjections]
"""From projections of one input, all on one device and in one dtype."""


@dataclass(frozen=True)
class Backend:
    """One row of `BACKENDS`.

    Attributes:
        refusal: why it cannot run a call; None if it can.
        build: makes the sparse projections of one input.
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
        found=f"{call.tokens} tokens in {str(call.dtype).removeprefix('torch.')} on {call.device}"
        f"{' under autocast' if call.is_autocast else ''}",
        where=_WHERE,
        remedy=f"choose {' or '.join((*able, AUTO))}",
    )


def slow_reason(name: str, call: Call) -> str | None:
    """The reason why `AUTO` found no backend that saves time for a call; None if it did, or `name` was asked for."""
    if name != AUTO or choose(name, call) != REFERENCE:
        return None
    fast = TRITON if call.device == "cuda" else NUMBA
    return f"backend {fast} needs {BACKENDS[fast].refusal(call)}"


def _refuses_triton(call: Call) -> str | None:
    if find_spec("triton") is None:
        return "the package `triton`, which comes with the CUDA builds of PyTorch (or `pip install wina-amp[gpu]`)"
    # Triton's interpreter, which only tests use, runs kernels on the CPU.
    if call.device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return "a CUDA device"
    if call.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return "float16, bfloat16 or float32"
    if call.weights != "copy":
        return '`weights="copy"`'
    return _refuses_many(call)


def _refuses_numba(call: Call) -> str | None:
    if find_spec("numba") is None:
        return "the package `numba` (`pip install wina-amp[cpu]`)"
    if call.device != "cpu":
        return "the CPU"
    if call.dtype not in (torch.float32, torch.bfloat16):
        return "float32 or bfloat16"
    return _refuses_many(call)


def _refuses_many(call: Call) -> str | None:
    if call.is_autocast:
        return "a call outside `torch.autocast`, which would run products in another dtype than that of the weights"
    return None if 1 <= call.tokens <= MOST_TOKENS else f"1 to {MOST_TOKENS} tokens per call"


def _triton(projections: Sequence[MaskedProjection]) -> SparseProjections:
    from wina_amp.decode.triton_gather import Packed

    return Packed(projections)


def _numba(masked: MaskedProjection) -> SparseLinear:
    from wina_amp.decode import numba_gather

    by_input = _stored(masked).detach().t().contiguous()

    def run(x: Tensor, groups: Tensor) -> Tensor:
        y = numba_gather.linear(x.float(), by_input, masked.cutoffs, groups)
        return (y if masked.bias is None else y.add_(masked.bias)).to(x.dtype)

    return run


def _stored(masked: MaskedProjection) -> Tensor:
    return masked.weight.bfloat16() if masked.weights == BFLOAT16 else masked.weight


def _reference(masked: MaskedProjection) -> SparseLinear:
    weight = _stored(masked).to(masked.weight.dtype)

    def run(x: Tensor, groups: Tensor) -> Tensor:
        everything = torch.ones(len(x), 1, dtype=torch.bool, device=x.device)
        kept = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        kept_inputs = reference.mask(x[:, None], masked.cutoffs, groups, everything, kept)
        return linear(kept_inputs[:, 0], weight, masked.bias)

    return run


def _one_by_one(build: Callable[[MaskedProjection], SparseLinear]) -> Build:
    return lambda projections: Separate([build(masked) for masked in projections])


BACKENDS: dict[str, Backend] = {
    NUMBA: Backend(_refuses_numba, _one_by_one(_numba)),
    TRITON: Backend(_refuses_triton, _triton),
    REFERENCE: Backend(lambda _call: None, _one_by_one(_reference)),
}
