"""The interface of a backend: sparse projections of one input, built from weights, biases and cutoffs.

q, k and v read the same tensor, gate and up another. A backend is built for all projections of an input at once, so
that it may run them in one launch; each keeps its own weights, bias and cutoffs. A backend that gains nothing by that
runs them one after the other (`Separate`). For gate and up, a backend also computes the input of `down` at once:

    gated(x) = silu(g) * u          g, u: first and second half of all outputs, gate and up or a fused `gate_up`

Both ways give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn.functional import silu

from wina_amp.names import Weights

MOST_TOKENS = 8
"""Tokens per call that a gather is for: already the union of eight independent masks of density 0.35 keeps 97% of the
inputs (real ones are not independent)."""


@dataclass(frozen=True)
class MaskedProjection:
    """A projection and its mask.

    Attributes:
        weight: its matrix.
        bias: added to the product; None if there is none.
        cutoffs: largest magnitude that is masked, per group and input (`wina_amp.masks.cutoffs`).
        weights: how the matrix is stored.
    """

    weight: Float[Tensor, "out in"]
    bias: Float[Tensor, " out"] | None
    cutoffs: Float32[Tensor, "groups in"]
    weights: Weights = "copy"


class SparseProjections(Protocol):
    """Projections of one input, each with its own mask, for all groups."""

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> tuple[Tensor, ...]:
        """The product of every projection with the inputs that it keeps, `[tokens, out]` in the dtype of x; rows may be
        views of a wider tensor. `groups` is int64 and its numbers are not checked."""
        ...

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """silu(first half of all outputs) * second half, every step rounded to the dtype of x. The halves must be the
        outputs of two projections, or those of one."""
        ...


SparseLinear = Callable[[Tensor, Tensor], Tensor]
"""One projection: (x `[tokens, in]`, groups `[tokens]`) -> `[tokens, out]`."""


class Separate:
    """Projections that run one after the other."""

    def __init__(self, linears: Sequence[SparseLinear]) -> None:
        self._linears = tuple(linears)

    def __call__(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> tuple[Tensor, ...]:
        """See `SparseProjections`."""
        return tuple(linear(x, groups) for linear in self._linears)

    def gated(self, x: Float[Tensor, "tokens in"], groups: Int[Tensor, " tokens"]) -> Float[Tensor, "tokens half"]:
        """See `SparseProjections`."""
        gate, up = halves(self(x, groups))
        return silu(gate) * up


def halves(outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The outputs of gate and up, from two projections or from a fused one.

    Raises:
        ValueError: the outputs are neither two of one width nor one of even width.
    """
    if len(outputs) == 1 and outputs[0].shape[-1] % 2 == 0:
        gate, up = torch.chunk(outputs[0], 2, dim=-1)
        return gate, up
    if len(outputs) == 2 and outputs[0].shape == outputs[1].shape:
        return outputs[0], outputs[1]
    widths = ", ".join(str(output.shape[-1]) for output in outputs)
    raise ValueError(f"gate and up must be two projections of one width, or the halves of one, got widths {widths}")
