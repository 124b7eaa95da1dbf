"""Greedy decoding of a batch of prompts, with a key/value cache.

Prompts are right-padded and run once; then one token per step. A decoded token sees its prompt and the tokens decoded
before it, never the padding between them. Rows that are done stay in the batch, so that shapes do not depend on what is
generated, but are neither masked nor counted any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache

from pipeline.compute.operations import attended
from pipeline.evaluate.ends import Ends
from pipeline.evaluate.engine import Engine
from pipeline.evaluate.tally import Tally
from pipeline.tasks.generation import Limits
from wina_amp.masks.eligibility import eligible
from wina_amp.tokens.halving import in_halves
from wina_amp.tokens.padding import right_padded


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to continue.

    Attributes:
        sample: number of the sample it belongs to.
        group: group whose profile is used.
        prompt: token ids, at least one.
        limits: where to stop.
    """

    sample: int
    group: int
    prompt: Sequence[int]
    limits: Limits

    @property
    def length(self) -> int:
        """Tokens that its row may need."""
        return len(self.prompt) + self.limits.max_tokens


def generate(engine: Engine, batch: Sequence[GenerationRequest], tally: Tally, ends: Ends) -> list[str]:
    """Continue every prompt greedily and add what ran to the tally; by halves where memory runs out.

    Returns: the generated texts, without special tokens, cut off before the first stop text.
    """
    width = max(len(request.prompt) for request in batch)

    def run(part: Sequence[GenerationRequest]) -> list[str]:
        with tally.all_or_nothing():
            return _generate(engine, part, width, tally, ends)

    return [text for texts in in_halves(run, batch) for text in texts]


def _generate(engine: Engine, batch: Sequence[GenerationRequest], width: int, tally: Tally, ends: Ends) -> list[str]:
    rows = [_Row(request.limits, ends) for request in batch]
    cache = DynamicCache()
    lengths = engine.tensor([len(request.prompt) for request in batch])
    hidden, visible = _prefill(engine, batch, width, lengths, cache, tally)
    for step in range(max(request.limits.max_tokens for request in batch)):
        for row, token in zip(rows, engine.best_tokens(hidden), strict=True):
            row.take(token)
        if all(row.is_done for row in rows):
            break
        hidden, visible = _step(engine, batch, rows, step, lengths, visible, cache, tally)
    return [row.text for row in rows]


class _Row:
    """The tokens generated for one prompt."""

    def __init__(self, limits: Limits, ends: Ends) -> None:
        self._limits = limits
        self._ends = ends
        self.tokens: list[int] = []
        self.text = ""
        self.is_done = False

    @property
    def next_token(self) -> int:
        return self.tokens[-1]

    def take(self, token: int) -> None:
        """Append the next token unless the row is done; it is done at one of its ends or at the largest length."""
        if self.is_done:
            return
        self.tokens.append(token)
        self.text, is_over = self._ends.answer(self.tokens, self._limits.stops)
        self.is_done = is_over or len(self.tokens) >= self._limits.max_tokens


def _prefill(
    engine: Engine, batch: Sequence[GenerationRequest], width: int, lengths: Tensor, cache: DynamicCache, tally: Tally
) -> tuple[Tensor, Tensor]:
    """Run the prompts; returns the hidden state of each last token, and which cached positions may be seen."""
    sizes = [len(request.prompt) for request in batch]
    ids, _ = right_padded([request.prompt for request in batch], width=width)
    counted = eligible(lengths, lengths, ids.shape[1], engine.dense_prefix)
    groups = [request.group for request in batch]
    hidden, counts = engine.forward(engine.tensor(ids), groups, counted, cache=cache, prompts=lengths)
    tally.add(
        [request.sample for request in batch],
        tokens=sizes,
        attended=[attended(0, size) for size in sizes],
        predicted=[1] * len(batch),
        counts=counts,
    )
    last = hidden[torch.arange(len(batch), device=hidden.device), lengths - 1]
    return last, torch.arange(ids.shape[1], device=hidden.device) < lengths[:, None]


def _step(
    engine: Engine,
    batch: Sequence[GenerationRequest],
    rows: Sequence[_Row],
    step: int,
    lengths: Tensor,
    visible: Tensor,
    cache: DynamicCache,
    tally: Tally,
) -> tuple[Tensor, Tensor]:
    """Run the tokens decoded last; returns their hidden states and which cached positions may be seen now."""
    running = [int(not row.is_done) for row in rows]
    # A row that is done goes no further: past the context, its position could change the rotary embeddings of all.
    positions = (lengths + step) * engine.tensor(running)
    visible = torch.cat([visible, torch.ones_like(visible[:, :1])], dim=1)
    hidden, counts = engine.forward(
        engine.tensor([[row.next_token] for row in rows]),
        [request.group for request in batch],
        engine.tensor(running).bool()[:, None],
        positions=positions[:, None],
        visible=visible[:, None, None, :],
        cache=cache,
    )
    tally.add(
        [request.sample for request in batch],
        tokens=running,
        attended=[attended(len(request.prompt) + step, is_on) for request, is_on in zip(batch, running, strict=True)],
        predicted=running,
        counts=counts,
    )
    return hidden[:, 0], visible
