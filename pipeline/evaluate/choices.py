"""Log-likelihoods of continuations, with the prompt's computation shared between all continuations of it.

A row of a batch is a prompt and its continuations side by side (`wina_amp/tokens/packing.py`), which one forward pass
computes as separate sequences would be.
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
from wina_amp.tokens.packing import PackedRow, visible
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
    def row(self) -> PackedRow:
        """Its row."""
        return PackedRow(self.prompt, self.continuations)

    @property
    def length(self) -> int:
        """Tokens that its row needs."""
        return self.row.width


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
        visible=None if is_plain else visible(engine.tensor(segments)),
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
    """Token ids, positions and segments `[batch, width]`; the segment of padding is -1."""
    rows = [request.row for request in batch]
    ids, positions = (right_padded(lists)[0] for lists in ([row.ids for row in rows], [row.positions for row in rows]))
    return ids, positions, right_padded([row.segments for row in rows], padding=-1)[0]


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
    for number, request in enumerate(batch):
        last, before = len(request.prompt) - 1, len(rows)
        rows += [number] * (request.length - last)
        columns += range(last, request.length)
        for continuation, own in zip(request.continuations, request.row.predictors, strict=True):
            predictors += [before + predictor for predictor in own]
            tokens += continuation
    prediction = engine.predict(hidden[engine.tensor(rows), engine.tensor(columns)], predictors, tokens)
    scored = iter(zip(prediction.logprobs.astype(np.float64), prediction.is_best, strict=True))
    return [[_sum([next(scored) for _ in continuation]) for continuation in request.continuations] for request in batch]


def _sum(tokens: Sequence[tuple[np.float64, np.bool_]]) -> tuple[float, bool]:
    return float(sum(logprob for logprob, _ in tokens)), all(bool(is_best) for _, is_best in tokens)
