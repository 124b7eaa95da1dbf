"""Where `kl` allocation looks: the places that predict an answer, and how far predictions there are from the dense
ones.

    KL = sum_v p_v (log p_v - log p'_v)          in nats, at one place

p and p' are the next-token distributions of the dense and of the masked model. Places are the tokens that predict the
answer (the prompt's last token and every answer token but the last): what evaluations score. Tokens of the prompt
predict the prompt, which nobody asks the model for; counting them would spend the budget on reproducing the questions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pipeline.tokens.padding import right_padded
from pipeline.tokens.samples import TokenizedSample
from wina_amp.masks.eligibility import eligible

_ROWS_OF_LOGITS = 512
"""Places whose logits exist at a time."""


@dataclass(frozen=True)
class AnswerBatch:
    """One right-padded batch of texts, without their last tokens, which predict nothing that is asked for.

    Attributes:
        ids: token ids.
        eligible: tokens that are masked.
        places: tokens that predict the answer.
        owners: row of every place, in the order in which `hidden[places]` lists them.
    """

    ids: Int[Tensor, "batch width"]
    eligible: Bool[Tensor, "batch width"]
    places: Bool[Tensor, "batch width"]
    owners: Int[Tensor, " places"]


def answer_batch(texts: Sequence[TokenizedSample], dense_prefix: int | float, device: torch.device) -> AnswerBatch:
    """Texts as one batch on a device; for `dense_prefix` see `eligibility.eligible`."""
    prompts = torch.tensor([len(text.prompt_ids) for text in texts])
    ids, totals = right_padded([text.ids[:-1] for text in texts])
    positions = torch.arange(ids.shape[1])
    places = (positions >= prompts[:, None] - 1) & (positions < totals[:, None])
    masked = eligible(prompts, totals, ids.shape[1], dense_prefix)
    owners = places.nonzero()[:, 0]
    return AnswerBatch(ids.to(device), masked.to(device), places.to(device), owners.to(device))


def divergences(
    head: Callable[[Tensor], Tensor], dense: Float[Tensor, "places hidden"], masked: Float[Tensor, "places hidden"]
) -> Float[Tensor, " places"]:
    """KL at every place, from final hidden states; logits of 512 places exist at a time, with gradients too."""

    def part(p_hidden: Tensor, q_hidden: Tensor) -> Tensor:
        p = head(p_hidden).float().log_softmax(dim=-1)
        q = head(q_hidden).float().log_softmax(dim=-1)
        return (p.exp() * (p - q)).sum(dim=-1)

    parts = zip(dense.split(_ROWS_OF_LOGITS), masked.split(_ROWS_OF_LOGITS), strict=True)
    if masked.requires_grad:
        return torch.cat([checkpoint(part, p, q, use_reentrant=False) for p, q in parts])
    return torch.cat([part(p, q) for p, q in parts])
