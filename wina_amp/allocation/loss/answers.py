"""The KL divergence of a masked model's answers from the dense model's: the loss of `kl` allocation.

    KL = sum_v p_v (log p_v - log p'_v)          in nats, at one position

p and p' are the next-token distributions of the dense and of the masked model. Positions are those of the tokens that
predict the answer (the prompt's last token and every answer token but the last): what evaluations score. Tokens of the
prompt predict the prompt, which nobody asks the model for; counting them would spend the budget on reproducing the
questions.

Of an answer of more than `POSITIONS` tokens (a window of text, say) so many positions are read, evenly spaced from the
first on: with a vocabulary of 262,144 the logits of one position cost as much as two tokens through the blocks of a
model of 270 million parameters, and neighbouring positions say much the same of an allocation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

POSITIONS = 16
"""Of one text, at most."""

_ROWS_OF_LOGITS = 512
"""Positions whose logits exist at a time."""


@dataclass(frozen=True)
class AnswerBatch:
    """One right-padded batch of texts, without their last tokens, which predict nothing that is asked for.

    Attributes:
        ids: token ids.
        eligible: tokens that are masked.
        positions: tokens whose predictions of the answer are read.
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
    answers = totals - prompts + 1
    positions = _spaced(columns - (prompts[:, None] - 1), answers[:, None])
    masked = eligible(prompts, totals, ids.shape[1], dense_prefix)
    owners = positions.nonzero()[:, 0]
    return AnswerBatch(ids.to(device), masked.to(device), positions.to(device), owners.to(device))


def positions_of(text: TokenizedSample) -> int:
    """How many of a text's positions are read."""
    return min(len(text.answer_ids), POSITIONS)


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
    """KL(dense || masked) at every position, in nats, from final hidden states; differentiable by the masked ones.

    Logits of 512 positions exist at a time, with gradients too: those are taken at once, part by part.
    """
    head = cast(Callable[[Tensor], Tensor], loaded.model.get_output_embeddings())
    parts = zip(dense.split(_ROWS_OF_LOGITS), masked.split(_ROWS_OF_LOGITS), strict=True)
    return torch.cat([cast(Tensor, _Part.apply(head, p, q)) for p, q in parts])


class _Part(torch.autograd.Function):
    """The divergence of some positions. No position depends on another, so that one backward pass over their sum, made
    while the logits are there, has the derivative of each."""

    @staticmethod
    def forward(ctx: Any, head: Callable[[Tensor], Tensor], dense: Tensor, masked: Tensor) -> Tensor:
        p = head(dense).float().log_softmax(dim=-1)
        with torch.set_grad_enabled(ctx.needs_input_grad[2]):
            leaf = masked.detach().requires_grad_(ctx.needs_input_grad[2])
            losses = (p.exp() * (p - head(leaf).float().log_softmax(dim=-1))).sum(dim=-1)
            if ctx.needs_input_grad[2]:
                ctx.save_for_backward(*torch.autograd.grad(losses.sum(), leaf))
        return losses.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        (by_hidden,) = ctx.saved_tensors
        return None, None, gradients[0][:, None].to(by_hidden.dtype) * by_hidden


def _spaced(numbers: Int[Tensor, "batch width"], counts: Int[Tensor, "batch one"]) -> Bool[Tensor, "batch width"]:
    """Which of the places 0 to count - 1 are read: all of up to `POSITIONS`; else so many, evenly spaced."""
    steps, before = (torch.div(place * POSITIONS, counts, rounding_mode="floor") for place in (numbers, numbers - 1))
    return (numbers >= 0) & (numbers < counts) & (steps > before)
