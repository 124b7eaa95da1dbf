"""Log-likelihoods of continuations, with the prompt's computation shared between all continuations of it.

A row of a batch is the prompt followed by its continuations side by side, each without its last token:

    prompt p1 ... pn | a1 ... | b1 ... | ...

Every continuation sees the prompt and its own earlier tokens only, at the positions it would have on its own, so the
row computes what the separate sequences would, in one forward pass. Continuations of one token need no place at all:
the prompt's last token predicts them. Rows are right-padded; real tokens never see the padding.
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


@dataclass(frozen=True)
class Question:
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


def loglikelihoods(engine: Engine, batch: Sequence[Question], tally: Tally) -> list[list[tuple[float, bool]]]:
    """Score a batch of questions in one forward pass and add what ran to the tally.

    Returns: for every question and continuation the sum of its tokens' log-probabilities (natural logarithm, added in
    float64) and whether greedy decoding would produce it.
    """
    ids, positions, segments = _layout(batch)
    prompts, totals = [len(question.prompt) for question in batch], [question.length for question in batch]
    counted = eligible(engine.tensor(prompts), engine.tensor(totals), ids.shape[1], engine.dense_prefix)
    is_plain = prompts == totals
    hidden, counts = engine.forward(
        engine.tensor(ids),
        [question.group for question in batch],
        counted,
        positions=None if is_plain else engine.tensor(positions),
        visible=None if is_plain else _visible(engine.tensor(segments)),
    )
    tally.add(
        [question.sample for question in batch],
        tokens=totals,
        attended=[_attended(question) for question in batch],
        predicted=[1 + question.length - len(question.prompt) for question in batch],
        counts=counts,
    )
    return _scores(engine, batch, hidden)


def _layout(batch: Sequence[Question]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token ids, positions and segments `[batch, width]`; segment 0 is the prompt, k > 0 a continuation, -1 padding."""
    shape = (len(batch), max(question.length for question in batch))
    ids, positions, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    for row, question in enumerate(batch):
        start = len(question.prompt)
        ids[row, :start], positions[row, :start], segments[row, :start] = question.prompt, range(start), 0
        place = start
        for number, tokens in enumerate(question.continuations, start=1):
            end = place + len(tokens) - 1
            ids[row, place:end] = tokens[:-1]
            positions[row, place:end] = range(start, start + end - place)
            segments[row, place:end] = number
            place = end
    return ids, positions, segments


def _visible(segments: Tensor) -> Tensor:
    """`[batch, 1, width, width]`: the prompt, and earlier tokens of the same segment (even padding sees something)."""
    seen, own = segments[:, None, :], segments[:, :, None]
    return (((seen == own) | (seen == 0)).tril())[:, None]


def _attended(question: Question) -> int:
    start = len(question.prompt)
    return attended(0, start) + sum(attended(start, len(tokens) - 1) for tokens in question.continuations)


def _scores(engine: Engine, batch: Sequence[Question], hidden: Tensor) -> list[list[tuple[float, bool]]]:
    """The places that predict are, in every row, the prompt's last token and everything behind it."""
    rows, columns, places, tokens = [], [], [], []
    for row, question in enumerate(batch):
        first = len(rows)
        last = len(question.prompt) - 1
        rows += [row] * (question.length - last)
        columns += range(last, question.length)
        place = first
        for continuation in question.continuations:
            places += [first, *range(place + 1, place + len(continuation))]
            tokens += continuation
            place += len(continuation) - 1
    found = engine.predict(hidden[engine.tensor(rows), engine.tensor(columns)], places, tokens)
    scored = iter(zip(found.logprobs.astype(np.float64), found.is_best, strict=True))
    return [[_sum([next(scored) for _ in tokens]) for tokens in question.continuations] for question in batch]


def _sum(tokens: Sequence[tuple[np.float64, np.bool_]]) -> tuple[float, bool]:
    return float(sum(logprob for logprob, _ in tokens)), all(bool(is_best) for _, is_best in tokens)
