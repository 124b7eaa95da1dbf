"""The kinds of masks by name, `mask: threshold`, `topk` and `prompt` of params.yaml: one row each.

A kind turns the feature weights of a criterion and what a profile says of one projection, group by group, into a
`Masker`, a function that masks the projection's input. Nothing else in the pipeline knows a kind by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import Tensor

from wina_amp.errors import unknown
from wina_amp.masks import reference, topk
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.masks.prompt import PromptMasker
from wina_amp.names import PROMPT, THRESHOLD, TOPK


class Masker(Protocol):
    """The mask of one projection, for every group."""

    def __call__(
        self,
        x: Float[Tensor, "batch width in"],
        groups: Int[Tensor, " batch"],
        eligible: Bool[Tensor, "batch width"],
        kept: Int[Tensor, " batch"],
        out: Float[Tensor, "batch width in"] | None,
        prompts: Int[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch width in"]:
        """The masked input; see `reference.mask` for the arguments, `prompt.PromptMasker` for `prompts`."""
        ...


@dataclass(frozen=True)
class MaskKind:
    """One kind of mask.

    Attributes:
        column: the column of the table `profiles` that it is made from.
        highest: the largest value that makes sense there; the smallest is 0.
        build: the mask of a projection, from its feature weights and the value of every group.
    """

    column: str
    highest: float
    build: Callable[[Float32[Tensor, " in"], Float[Tensor, " groups"]], Masker]


def mask_kind(name: str) -> MaskKind:
    """The row of `MASKS`.

    Raises:
        UserError: unknown kind; the known ones are listed.
    """
    if name not in MASKS:
        raise unknown("mask", name, MASKS, "params.yaml")
    return MASKS[name]


def _threshold(weights: Float32[Tensor, " in"], values: Float[Tensor, " groups"]) -> Masker:
    table = cutoffs(weights, values.to(weights.device))

    def masker(
        x: Tensor, groups: Tensor, eligible: Tensor, kept: Tensor, out: Tensor | None, prompts: Tensor | None = None
    ) -> Tensor:
        return reference.mask(x, table, groups, eligible, kept, out)

    return masker


def _topk(weights: Float32[Tensor, " in"], values: Float[Tensor, " groups"]) -> Masker:
    numbers = topk.kept_features(len(weights), values.tolist())
    keep, most = torch.tensor(numbers, dtype=torch.int64, device=weights.device), max(numbers)

    def masker(
        x: Tensor, groups: Tensor, eligible: Tensor, kept: Tensor, out: Tensor | None, prompts: Tensor | None = None
    ) -> Tensor:
        return topk.mask(x, weights, keep, most, groups, eligible, kept, out)

    return masker


MASKS: dict[str, MaskKind] = {
    THRESHOLD: MaskKind("threshold", math.inf, _threshold),
    TOPK: MaskKind("sparsity", 1.0, _topk),
    PROMPT: MaskKind("sparsity", 1.0, PromptMasker),
}
