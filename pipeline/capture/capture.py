"""One dense pass over the samples: per-sample score histograms and signatures, as rows of their tables.

Histograms count the eligible tokens of prompt and right answer, and only of samples meant for calibration; those of
long samples are stored in larger units (`pipeline/histograms/count_units.py`). Signatures describe the eligible PROMPT
tokens of every sample, because that is all a router may look at.

Rows are right-padded. Under causal attention no real token sees the padding behind it, so no attention mask is needed
and PyTorch's fast causal kernel runs; eligibility comes from lengths. The decoder runs without `lm_head`. Each batch is
finished before the next one begins: memory depends on the token budget, not on the number of samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.capture.observe import Observer
from pipeline.capture.rows import histogram_table, signature_table
from pipeline.histograms.bins import Bins
from wina_amp.errors import UserError
from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Item:
    """The tokens of one sample.

    Attributes:
        sample_id: its key.
        prompt: token ids of the prompt, at least one.
        answer: token ids of the right continuation, as far as the model reads it; empty where only the
            prompt is to be observed.
        has_histogram: whether its scores are counted, or only its signature taken.
    """

    sample_id: str
    prompt: Sequence[int]
    answer: Sequence[int]
    has_histogram: bool

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Part:
    """Rows of the tables `histograms` and `signatures` (`pipeline/storage/schemas.py`), in no particular order."""

    histograms: pa.Table
    signatures: pa.Table


def capture(
    loaded: LoadedModel,
    batches: Iterable[Sequence[Item]],
    *,
    criteria: Sequence[str],
    mantissa_bits: int,
    signature_dim: int,
    dense_prefix: int | float,
    seed: int,
) -> Iterator[Part]:
    """Run the decoder over every batch and yield its rows.

    Args:
        loaded: the dense model.
        batches: samples that go through the model together; see `pipeline/tokens/batching.py`.
        criteria: names in `scoring.CRITERIA`.
        mantissa_bits: resolution of the histograms.
        signature_dim: numbers per signature.
        dense_prefix: see `eligibility.eligible`.
        seed: seeds the projection of the signatures.

    Guarantee: the model is as before once the iterator is exhausted or closed; counts of a sample add up to its
    eligible tokens times the features of the projection, for every criterion; those of fewer than 2^17 scores are
    exact, others as `count_units` says. Signatures do not depend on `criteria`.

    Raises:
        UserError: a sample is longer than the model's context or has no eligible prompt token; unknown criterion; a
            score that is NaN or infinite.
    """
    bins = Bins(mantissa_bits)
    with Observer(loaded, criteria, bins) as observer:
        for batch in batches:
            _check(batch, loaded.context)
            ids, histogram_rows, signature_rows = _tensors(batch, dense_prefix)
            with observer.batch(histogram_rows, signature_rows), torch.inference_mode():
                loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)
            observations = observer.take()
            ids_counted = [item.sample_id for item in batch if item.has_histogram]
            ids_seen = [item.sample_id for item in batch]
            tokens_counted = _tokens(histogram_rows)[[item.has_histogram for item in batch]]
            tokens_seen = _tokens(signature_rows)
            yield Part(
                histograms=histogram_table(observations, ids_counted, tokens_counted, bins),
                signatures=signature_table(observations, ids_seen, tokens_seen, seed=seed, dim=signature_dim),
            )


def _check(batch: Sequence[Item], context: int) -> None:
    for item in batch:
        if item.length > context:
            raise UserError(
                f"A sample must fit the model's context of {context} tokens",
                found=f"{item.length} tokens",
                where=f"sample {item.sample_id}",
                remedy="leave its task out of `benchmark.tasks`, or use a model with a longer context",
            )


def _tensors(
    batch: Sequence[Item], dense_prefix: int | float
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, "batch width"], Int[Tensor, "batch width"]]:
    """Right-padded token ids, and for every token its row among the histograms and among the signatures, or -1."""
    prompts = torch.tensor([len(item.prompt) for item in batch])
    totals = torch.tensor([item.length for item in batch])
    ids = torch.zeros(len(batch), int(totals.max()), dtype=torch.int64)
    for row, item in enumerate(batch):
        ids[row, : item.length] = torch.tensor([*item.prompt, *item.answer])
    in_prompt = eligible(prompts, prompts, ids.shape[1], dense_prefix)
    _refuse_empty(batch, in_prompt.any(dim=1).tolist(), dense_prefix)
    counted = torch.tensor([item.has_histogram for item in batch])
    histogram_row = torch.where(counted, counted.cumsum(0) - 1, -1)
    histogram_rows = torch.where(eligible(prompts, totals, ids.shape[1], dense_prefix), histogram_row[:, None], -1)
    signature_rows = torch.where(in_prompt, torch.arange(len(batch))[:, None], -1)
    return ids, histogram_rows, signature_rows


def _tokens(rows: Int[Tensor, "batch width"]) -> Int[np.ndarray, " batch"]:
    return (rows >= 0).sum(dim=1).numpy()


def _refuse_empty(batch: Sequence[Item], has_tokens: Sequence[bool], dense_prefix: int | float) -> None:
    for item, is_observable in zip(batch, has_tokens, strict=True):
        if not is_observable:
            raise UserError(
                "Every prompt must have a token behind the dense prefix",
                found=f"{len(item.prompt)} tokens, of which `tokens.dense_prefix: {dense_prefix}` keeps all dense",
                where=f"sample {item.sample_id}",
                remedy="lower `tokens.dense_prefix`, or leave the sample's task out of `benchmark.tasks`",
            )
