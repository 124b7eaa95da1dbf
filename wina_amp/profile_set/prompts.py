"""The prompts among the arguments of a call, `generate()` or a forward pass, of a sparse model.

The router must know every prompt as a whole and without its padding, and masks must know the padding; so what does not
say that is refused before the first pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedConfig

from wina_amp.errors import UserError
from wina_amp.models.context import LONGROPE, rope_change


@dataclass(frozen=True)
class Prompts:
    """The prompts of a call, on the model's device.

    Attributes:
        ids: token ids; None where embeddings are given in their place.
        mask: 1 for tokens, 0 for padding; of everything that the cache will hold after the prompts ran.
    """

    ids: Int[Tensor, "prompts width"] | None
    mask: Int[Tensor, "prompts total"]

    def alone(self) -> list[Any]:
        """The ids of every prompt without padding, as arrays."""
        assert self.ids is not None
        rows = zip(self.ids.cpu(), self.mask.bool().cpu(), strict=True)
        return [row[is_token].numpy() for row, is_token in rows]


def prompts_of(
    ids: object, embeddings: object, mask: object, device: torch.device, *, where: str, cached: int = 0
) -> Prompts:
    """Read and check prompts.

    Args:
        ids: `input_ids`, `[prompts, width]`.
        embeddings: `inputs_embeds`, `[prompts, width, hidden]`, or None.
        mask: `attention_mask`, or None where no token is padding.
        device: of the model.
        where: the call, for messages.
        cached: tokens in front of `ids` that a cache holds.

    Raises:
        UserError: neither ids nor embeddings; several prompts without a mask; a mask of another shape; a prompt without
            a token.
    """
    given = ids if embeddings is None else embeddings
    is_ids = isinstance(given, Tensor) and given.ndim == 2 and not given.is_floating_point()
    is_embedded = embeddings is not None and isinstance(given, Tensor) and given.ndim == 3
    if not isinstance(given, Tensor) or not (is_embedded or is_ids) or not len(given):
        actual = f"{list(given.shape)} in {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
        remedy = "pass the tokenizer's `input_ids`"
        raise refusal("Prompts must be token ids, `[prompts, width]`", actual, where, remedy)
    if mask is None and len(given) > 1:
        remedy = "pass the tokenizer's `attention_mask`; padding must neither be routed nor masked"
        raise refusal("Several prompts need an attention mask", f"{len(given)} prompts and no mask", where, remedy)
    shape = [len(given), cached + given.shape[1]]
    tokens = torch.ones(shape, dtype=torch.int64, device=given.device) if mask is None else mask
    if not isinstance(tokens, Tensor) or list(tokens.shape) != shape:
        actual = f"{list(tokens.shape)}" if isinstance(tokens, Tensor) else type(tokens).__name__
        remedy = "pass the tokenizer's `attention_mask`"
        raise refusal(f"The attention mask must have the prompts' shape, {shape}", actual, where, remedy)
    if not bool(tokens.bool().any(dim=1).all()):
        raise refusal("Every prompt must have a token", "a row of padding alone", where, "leave empty prompts out")
    return Prompts(None if is_embedded else given.to(device), tokens.to(device))


def check_positions(positions: object, *, where: str) -> None:
    """Refuse several sequences in one row, which transformers tells apart by positions that begin anew.

    Raises:
        UserError: positions that fall within a row.
    """
    if isinstance(positions, Tensor) and bool((positions.diff(dim=-1) < 0).any()):
        raise refusal(
            "A row must hold one sequence: it is routed once, and its first tokens stay dense",
            "`position_ids` that begin anew within a row",
            where,
            "give every sequence a row, with an `attention_mask`",
        )


def check_lengths(config: PreTrainedConfig, mask: Bool[Tensor, "prompts width"], new: int, *, where: str) -> None:
    """Refuse a batch in which one sequence would change the numbers of another, or padding its own.

    That happens where rotary embeddings change with the longest sequence of a batch (`rope_change`) and some, but not
    all, sequences are past that length.

    Args:
        config: of the model.
        mask: of the prompts, 1 for tokens.
        new: the most tokens that are generated.
        where: the call, for messages.

    Raises:
        UserError: prompts of different lengths, or padded ones, that pass the length; under `dynamic` any that do,
            because then earlier generations change the numbers as well.
    """
    kind, limit = rope_change(config)
    if limit is None:
        return
    lengths = mask.sum(dim=1)
    longest, shortest = int(lengths.max()) + new, int(lengths.min())
    is_one_side = longest <= limit or (kind == LONGROPE and (bool(mask.bool().all()) or shortest > limit))
    if not is_one_side:
        raise refusal(
            f"Sequences that grow past {limit} tokens must not change each other's rotary embeddings ({kind})",
            f"{len(mask)} prompts of {shortest} to {longest - new} tokens, of which up to {longest} are to be made",
            where,
            f"generate fewer tokens{', or one prompt at a time, without padding' if kind == LONGROPE else ''}",
        )


def refusal(must: str, actual: str, where: str, remedy: str) -> UserError:
    """The error for a call that a sparse model cannot run as asked."""
    return UserError(must, found=actual, where=f"{where} of a sparse model", remedy=remedy)
