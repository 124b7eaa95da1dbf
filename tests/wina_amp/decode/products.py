"""Inputs, weights and cutoffs whose sparse products are exact, for tests; and the products, obviously computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SHAPES = ((1, 1), (3, 17), (17, 3), (100, 64), (257, 130), (1040, 100))
"""Inputs and outputs of a map: single ones, odd ones, more than a block or part of any kernel but no multiple of it."""


@dataclass(frozen=True)
class Case:
    """Tokens, a map, and two groups' cutoffs.

    All numbers are small whole ones or halves, so that products and their sums are exact in float32 in any order: what
    differs from the transcription is wrong, not rounded. Outputs in 16 bits are rounded once.
    """

    x: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    cutoffs: torch.Tensor
    groups: torch.Tensor


def case(inputs: int, outputs: int, tokens: int, dtype: torch.dtype, density: str) -> Case:
    """`density`: what the cutoffs keep: all, none, some, or (mixed) nothing in the one group and all in the other."""
    draw = torch.Generator().manual_seed(inputs * 1000 + outputs + tokens)

    def whole(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=draw)

    limits = {
        "all": torch.zeros(2, inputs),
        "none": torch.full((2, inputs), 9.0),
        "some": whole(0, 4, 2, inputs).float(),
        "mixed": torch.tensor([[9.0], [0.0]]).expand(2, inputs).contiguous(),
    }
    x = whole(1, 5, tokens, inputs) * (2 * whole(0, 2, tokens, inputs) - 1)
    return Case(
        x=x.to(dtype),
        weight=whole(-4, 5, outputs, inputs).to(dtype) / 2,
        bias=whole(-4, 5, outputs).to(dtype),
        cutoffs=limits[density],
        groups=whole(0, 2, tokens),
    )


def product(given: Case, bias: bool = True) -> torch.Tensor:
    """y = bias + W x' token by token, in float64."""
    rows = []
    for x, group in zip(given.x.double(), given.groups, strict=True):
        masked = torch.where(x.abs() <= given.cutoffs[group], 0.0, x)
        rows.append(given.weight.double() @ masked + (given.bias.double() if bias else 0.0))
    return torch.stack(rows)
