"""Training batches of the reference model: documents of the model-training split, bucketed by length.

Documents are drawn without end, so no document is seen twice on purpose. Every solved answer in a document counts fully
in the loss; all other tokens count `context_weight`, because operands are random and cannot be predicted: they would
spend the model's capacity, but a language model must still have an opinion about them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedTokenizerFast

from pipeline.reference_model.recipe import Phase, Recipe
from pipeline.tasks.embedded.computations import COMPUTATIONS, TRAINED_LEVELS
from pipeline.tasks.embedded.documents import SHOTS, Document, document
from pipeline.tasks.embedded.splits import MODEL_TRAINING
from pipeline.tasks.embedded.templates import END, TEMPLATES
from pipeline.tasks.embedded.tokenizer import BOS, EOS, PAD, token_id

_POOL = 1024
"""Documents that are sorted by length together: enough for batches with little padding."""


@dataclass(frozen=True)
class Batch:
    """Right-padded rows.

    `weights[i, t]` is the loss weight of predicting `ids[i, t]`; 0 on padding and on the first token.
    """

    ids: Tensor
    weights: Tensor

    @property
    def tokens(self) -> int:
        return self.ids.numel()


def batches(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, phases: Sequence[Phase]) -> Iterator[Batch]:
    """The seeded stream of batches of about `recipe.batch_tokens` tokens, padding included, phase after phase.

    A phase ends with the first batch that brings the tokens of the whole stream to `phase.until`.
    """
    rng, tokens = random.Random(f"{recipe.seed}/training"), 0
    for phase in phases:
        for batch in _mixture(tokenizer, recipe, phase, rng):
            yield batch
            tokens += batch.tokens
            if tokens >= phase.until:
                break


def _mixture(tokenizer: PreTrainedTokenizerFast, recipe: Recipe, phase: Phase, rng: random.Random) -> Iterator[Batch]:
    fractions = [phase.emphasis.get(computation, 1.0) for computation in COMPUTATIONS]
    while True:
        drawn = [
            _document(rng, computation, phase.levels.get(computation, TRAINED_LEVELS))
            for computation in rng.choices(list(COMPUTATIONS), fractions, k=_POOL)
        ]
        rows = sorted((_row(doc, tokenizer, phase.context_weight) for doc in drawn), key=lambda row: len(row[0]))
        cut: list[list[tuple[list[int], list[float]]]] = [[]]
        for row in rows:
            if (len(cut[-1]) + 1) * len(row[0]) > recipe.batch_tokens:
                cut.append([])
            cut[-1].append(row)
        rng.shuffle(cut)
        yield from (_pad(part, token_id(tokenizer, PAD)) for part in cut)


def _document(rng: random.Random, computation: str, levels: tuple[int, ...]) -> Document:
    return document(computation, MODEL_TRAINING, levels, rng.choice(TEMPLATES), rng.choice(SHOTS), rng)


def _row(doc: Document, tokenizer: PreTrainedTokenizerFast, context_weight: float) -> tuple[list[int], list[float]]:
    ids, weights = [token_id(tokenizer, BOS)], [0.0]
    for text, answer in doc.segments:
        context = tokenizer.encode(text, add_special_tokens=False)
        solved = tokenizer.encode(f"{answer} {END}", add_special_tokens=False)
        ids += context + solved
        weights += [context_weight] * len(context) + [1.0] * len(solved)
    return [*ids, token_id(tokenizer, EOS)], [*weights, context_weight]


def _pad(rows: list[tuple[list[int], list[float]]], pad: int) -> Batch:
    ids, weights = zip(*rows, strict=True)
    return Batch(
        pad_sequence([torch.tensor(row) for row in ids], batch_first=True, padding_value=pad),
        pad_sequence([torch.tensor(row) for row in weights], batch_first=True),
    )
