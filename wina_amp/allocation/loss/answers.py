"""The KL divergence of a masked model's answers from the dense model's: the loss of `kl` allocation.

    KL = sum_v p_v (log p_v - log p'_v)          in nats, at one position

p and p' are the next-token distributions of the dense and of the masked model. Positions are those of the tokens that
predict the answer (the prompt's last token and every answer token but the last): what evaluations score. Tokens of the
prompt predict the prompt, which nobody asks the model for; counting them would spend the budget on reproducing the
questions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

_ROWS_OF_LOGITS = 512
"""Positions whose logits exist at a time."""


@dataclass(frozen=True)
class AnswerBatch:
    """One right-padded batch of texts, without their last tokens, which predict nothing that is asked for.

    Attributes:
        ids: token ids.
        eligible: tokens that are masked.
        positions: tokens that predict the answer.
        owners: row of every position, in the order in which `hidden[positions]` lists them.
    """

    ids: Int[Tensor, "batch width"]
    eligible: Bool[Tensor, "batch width"]
    positions: Bool[Tensor, "batch width"]
    owners: Int[Tensor, " positions"]

    def by_text(self, losses: Float[Tensor, " positions"]) -> Float64[Tensor, " batch"]:
        """The sum of the losses over the positions of every text."""
        total = torch.zeros(len(self.ids), dtype=torch.float64, device=self.owners.device)
        return total.index_add_(0, self.owners, losses.to(self.owners.device).double())


def answer_batch(texts: Sequence[TokenizedSample], dense_prefix: int | float, device: torch.device) -> AnswerBatch:
    """Texts as one batch on a device; for `dense_prefix` see `eligibility.eligible`."""
    prompts = torch.tensor([len(text.prompt_ids) for text in texts])
    ids, totals = right_padded([text.ids[:-1] for text in texts])
    columns = torch.arange(ids.shape[1])
    positions = (columns >= prompts[:, None] - 1) & (columns < totals[:, None])
    masked = eligible(prompts, totals, ids.shape[1], dense_prefix)
    owners = positions.nonzero()[:, 0]
    return AnswerBatch(ids.to(device), masked.to(device), positions.to(device), owners.to(device))


def planned(texts: Sequence[TokenizedSample], budget: int) -> list[list[int]]:
    """The numbers of the texts that are batched together: most tokens in a batch are `budget`, padding included."""
    return batches([text.length - 1 for text in texts], [text.sample_id for text in texts], budget)


def answer_batches(
    texts: Sequence[TokenizedSample], budget: int, dense_prefix: int | float, device: torch.device
) -> Iterator[tuple[list[int], AnswerBatch]]:
    """All texts in batches, each with the numbers of its texts."""
    for numbers in planned(texts, budget):
        yield numbers, answer_batch([texts[number] for number in numbers], dense_prefix, device)


def hidden_states(loaded: LoadedModel, answer: AnswerBatch) -> Float[Tensor, "positions hidden"]:
    """Final hidden states at the positions that predict answers, under whatever masks the model has; one pass."""
    hidden = cast(Tensor, loaded.decoder(input_ids=answer.ids, use_cache=False).last_hidden_state)
    return hidden.to(answer.positions.device)[answer.positions]


def kl_divergence(
    loaded: LoadedModel, dense: Float[Tensor, "positions hidden"], masked: Float[Tensor, "positions hidden"]
) -> Float[Tensor, " positions"]:
    """KL(dense || masked) at every position, in nats, from final hidden states.

    Logits of 512 positions exist at a time, with gradients too.
    """
    head = cast(Callable[[Tensor], Tensor], loaded.model.get_output_embeddings())

    def part(p_hidden: Tensor, q_hidden: Tensor) -> Tensor:
        p = head(p_hidden).float().log_softmax(dim=-1)
        q = head(q_hidden).float().log_softmax(dim=-1)
        return (p.exp() * (p - q)).sum(dim=-1)

    parts = zip(dense.split(_ROWS_OF_LOGITS), masked.split(_ROWS_OF_LOGITS), strict=True)
    if masked.requires_grad:
        return torch.cat([checkpoint(part, p, q, use_reentrant=False) for p, q in parts])
    return torch.cat([part(p, q) for p, q in parts])
