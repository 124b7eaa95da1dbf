"""Maps that read one input: what a backend is built from, and what it gives back.

q, k and v read the same tensor, gate and up another. A backend is built for all maps of an input at once, so that one
that can do so runs them in one launch; each map has weights, bias and cutoffs of its own all the same. A backend that
gains nothing by sharing runs them one after the other (`Separate`). Where the maps are those of a gated MLP,

    gated(x) = silu(g) * u          g, u: first and second half of all outputs, gate and up or a fused `gate_up`

is what `down` reads, and the same backend gives it at once. Both ways give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.functional import silu


@dataclass(frozen=True)
class MaskedMap:
    """A linear map and what it masks.

    Attributes:
        weight: its matrix.
        bias: what it adds; None: nothing.
        cutoffs: largest magnitude that is masked, per group and input (`sparse.cutoffs`).
    """

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None
    cutoffs: Float32[Tensor, "groups in"]


class SparseMaps(Protocol):
    """Maps of one input, each with its own mask, for all groups."""

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> tuple[Tensor, ...]:
        """What every map makes of the inputs that it keeps, `[tokens, out]` in the dtype of x; rows may be views of a
        wider tensor. `groups` is int64 and its numbers are not checked."""
        ...

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """silu(first half of all outputs) * second half, every step rounded to the dtype of x. The halves must be two
        maps, or those of one."""
        ...


SparseLinear = Callable[[Tensor, Tensor], Tensor]
"""One map: (x `[tokens, in]`, groups `[tokens]`) -> `[tokens, out]`."""


class Separate:
    """Maps that run one after the other.

    Args:
        linears: the maps, in order.
    """

    def __init__(self, linears: Sequence[SparseLinear]) -> None:
        self._linears = tuple(linears)

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> tuple[Tensor, ...]:
        """See `SparseMaps`."""
        return tuple(linear(x, groups) for linear in self._linears)

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """See `SparseMaps`."""
        gate, up = halves(self(x, groups))
        return silu(gate) * up


def halves(outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Gate and up, of two maps or of one that holds both.

    Raises:
        ValueError: neither.
    """
    if len(outputs) == 1 and outputs[0].shape[-1] % 2 == 0:
        gate, up = torch.chunk(outputs[0], 2, dim=-1)
        return gate, up
    if len(outputs) == 2 and outputs[0].shape == outputs[1].shape:
        return outputs[0], outputs[1]
    widths = ", ".join(str(one.shape[-1]) for one in outputs)
    raise ValueError(f"gate and up must be two maps of one width, or the halves of one map, got widths {widths}")
