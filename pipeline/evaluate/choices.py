"""Log-likelihoods of continuations, with the prompt's computation shared between all continuations of it.

A row of a batch is the prompt followed by its continuations side by side, each without its last token:

    prompt p1 ... pn | a1 ... | b1 ... | ...

Every continuation sees the prompt and its own earlier tokens only, at the positions it would have on its own, so the
row computes what the separate sequences would, in one forward pass. Continuations of one token take no space at all:
the prompt's last token predicts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from pipeline.compute.operations import attended
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from wina_amp.masks.eligibility import eligible
from wina_amp.tokens.padding import right_padded


@dataclass(frozen=True)
class ScoringRequest:
    """A prompt and the continuations to score.

    Attributes:
        sample: number of the sample it belongs to.
        group: group whose profile is used.
        prompt: token ids, at least one.
        continuations: token ids of each, at least one token.
    """

    sample: int
    group: int
    prompt: Sequence[int]
    continuations: Sequence[Sequence[int]]

    @property
    def length(self) -> int:
        """Tokens that its row needs."""
        return len(self.prompt) + sum(len(tokens) - 1 for tokens in self.continuations)


def loglikelihoods(engine: Engine, batch: Sequence[ScoringRequest], tally: Tally) -> list[list[tuple[float, bool]]]:
    """Score a batch of requests in one forward pass and add what ran to the tally.

    Returns: for every request and continuation the sum of its tokens' log-probabilities (natural logarithm, added in
    float64) and whether greedy decoding would produce it.
    """
    ids, positions, segments = _layout(batch)
    prompts, totals = [len(request.prompt) for request in batch], [request.length for request in batch]
    counted = eligible(engine.tensor(prompts), engine.tensor(totals), ids.shape[1], engine.dense_prefix)
    is_plain = prompts == totals
    hidden, counts = engine.forward(
        engine.tensor(ids),
        [request.group for request in batch],
        counted,
        positions=None if is_plain else engine.tensor(positions),
        visible=None if is_plain else _visible(engine.tensor(segments)),
        prompts=engine.tensor(prompts),
    )
    tally.add(
        [request.sample for request in batch],
        tokens=totals,
        attended=[_attended(request) for request in batch],
        predicted=[1 + request.length - len(request.prompt) for request in batch],
        counts=counts,
    )
    return _scores(engine, batch, hidden)


def _layout(batch: Sequence[ScoringRequest]) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids, positions and segments `[batch, width]`; segment 0 is the prompt, k > 0 a continuation, -1 padding."""
    ids: list[list[int]] = []
    positions: list[list[int]] = []
    segments: list[list[int]] = []
    for request in batch:
        start = len(request.prompt)
        parts = [request.prompt, *(tokens[:-1] for tokens in request.continuations)]
        ids.append([token for part in parts for token in part])
        positions.append([*range(start), *(start + i for part in parts[1:] for i in range(len(part)))])
        segments.append([number for number, part in enumerate(parts) for _ in part])
    return right_padded(ids)[0], right_padded(positions)[0], right_padded(segments, pad=-1)[0]


def _visible(segments: Tensor) -> Tensor:
    """`[batch, 1, width, width]`: the prompt, and earlier tokens of the same segment (even padding sees something)."""
    seen, own = segments[:, None, :], segments[:, :, None]
    return (((seen == own) | (seen == 0)).tril())[:, None]


def _attended(request: ScoringRequest) -> int:
    start = len(request.prompt)
    return attended(0, start) + sum(attended(start, len(tokens) - 1) for tokens in request.continuations)


def _scores(engine: Engine, batch: Sequence[ScoringRequest], hidden: Tensor) -> list[list[tuple[float, bool]]]:
    """Log-likelihoods from the positions that predict: in every row the prompt's last token and everything behind it.

    `predictors` are, for every token to score, which of these positions predicts it.
    """
    rows: list[int] = []
    columns: list[int] = []
    predictors: list[int] = []
    tokens: list[int] = []
    for row, request in enumerate(batch):
        last = len(request.prompt) - 1
        behind_prompt = previous = len(rows)
        rows += [row] * (request.length - last)
        columns += range(last, request.length)
        for continuation in request.continuations:
            predictors += [behind_prompt, *range(previous + 1, previous + len(continuation))]
            tokens += continuation
            previous += len(continuation) - 1
    prediction = engine.predict(hidden[engine.tensor(rows), engine.tensor(columns)], predictors, tokens)
    scored = iter(zip(prediction.logprobs.astype(np.float64), prediction.is_best, strict=True))
    return [[_sum([next(scored) for _ in continuation]) for continuation in request.continuations] for request in batch]


def _sum(tokens: Sequence[tuple[np.float64, np.bool_]]) -> tuple[float, bool]:
    return float(sum(logprob for logprob, _ in tokens)), all(bool(is_best) for _, is_best in tokens)
