"""Log-likelihoods of the continuations of one prompt, from the logits of the row that holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wina_amp.tokens.packing import PackedRow

_ROWS_AT_A_TIME = 512
"""Positions whose log-probabilities exist at a time: a vocabulary of 262,144 takes half a gigabyte for them."""


def scores(logits: Float[Tensor, "predictors vocabulary"], row: PackedRow) -> list[tuple[float, bool]]:
    """For every continuation the sum of its tokens' log-probabilities, in nats and added in float64, and whether each
    token is the most probable one.

    Args:
        logits: of the row's last prompt token and everything behind it.
        row: the row.
    """
    positions = [position for own in row.predictors for position in own]
    tokens = [token for continuation in row.continuations for token in continuation]
    logprobs: list[float] = []
    are_best: list[bool] = []
    for start in range(0, len(tokens), _ROWS_AT_A_TIME):
        end = start + _ROWS_AT_A_TIME
        chunk = logits[positions[start:end]]
        token = torch.tensor(tokens[start:end], device=logits.device)
        of_token = chunk.float().log_softmax(dim=-1).gather(1, token[:, None])[:, 0]
        logprobs += of_token.tolist()
        are_best += (chunk.argmax(dim=-1) == token).tolist()
    scored = iter(zip(logprobs, are_best, strict=True))
    each = [[next(scored) for _ in continuation] for continuation in row.continuations]
    return [(sum(logprob for logprob, _ in of_tokens), all(is_best for _, is_best in of_tokens)) for of_tokens in each]


def rows(prompt: Sequence[int], continuations: Sequence[Sequence[int]], widest: int) -> Iterator[list[Sequence[int]]]:
    """The continuations of a prompt in parts, in their order, each of which makes a row of at most `widest` tokens; one
    that needs more stands alone."""
    part: list[Sequence[int]] = []
    for continuation in continuations:
        if part and PackedRow(prompt, [*part, continuation]).width > widest:
            yield part
            part = []
        part.append(continuation)
    if part:
        yield part
