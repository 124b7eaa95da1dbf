"""One dense pass over the samples: per-sample score histograms and signatures, as rows of their tables.

Histograms count the eligible tokens of prompt and right answer, and only of samples meant for calibration; those of
long samples are stored in larger units (`pipeline/histograms/count_units.py`). Signatures describe the eligible PROMPT
tokens of every sample, because that is all a router may look at.

Rows are right-padded. Under causal attention no real token sees the padding behind it, so no attention mask is needed
and PyTorch's fast causal kernel runs; eligibility comes from lengths. The decoder runs without `lm_head`. Each batch is
completed before the next one begins: memory depends on the token budget, not on the number of samples.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Int
from torch import Tensor

from pipeline.capture.rows import histogram_table, signature_table
from wina_amp.capture.observe import Observer
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.masks.eligibility import eligible
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Part:
    """Rows of the tables `histograms` and `signatures` (`pipeline/storage/schemas.py`), in no particular order."""

    histograms: pa.Table
    signatures: pa.Table


def capture(
    loaded: LoadedModel,
    batches: Iterable[Sequence[TokenizedSample]],
    *,
    histograms_of: Container[str],
    criteria: Sequence[str],
    mantissa_bits: int,
    signature_dim: int,
    dense_prefix: int | float,
    seed: int,
) -> Iterator[Part]:
    """Run the decoder over every batch and yield its rows.

    Args:
        loaded: the dense model.
        batches: samples that go through the model together (`wina_amp/tokens/batching.py`). Of answers, only the tokens
            that the model reads: not the last one, which is predicted.
        histograms_of: sample_ids whose scores are counted; of all others only the signature is taken.
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
            _refuse_long(batch, loaded.context)
            has_histogram = [sample.sample_id in histograms_of for sample in batch]
            ids, histogram_rows, signature_rows = _tensors(batch, has_histogram, dense_prefix)
            with observer.batch(histogram_rows, signature_rows), torch.inference_mode():
                loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)
            observations = observer.take()
            sample_ids = [sample.sample_id for sample in batch]
            counted_ids = list(compress(sample_ids, has_histogram))
            counted_tokens, prompt_tokens = _tokens(histogram_rows)[has_histogram], _tokens(signature_rows)
            yield Part(
                histograms=histogram_table(observations, counted_ids, counted_tokens, bins),
                signatures=signature_table(observations, sample_ids, prompt_tokens, seed=seed, dim=signature_dim),
            )


def _refuse_long(batch: Sequence[TokenizedSample], context: int) -> None:
    for sample in batch:
        if sample.length > context:
            raise UserError(
                f"A sample must fit the model's context of {context} tokens",
                found=f"{sample.length} tokens",
                where=f"sample {sample.sample_id}",
                remedy="leave its task out of `benchmark.tasks`, or use a model with a longer context",
            )


def _tensors(
    batch: Sequence[TokenizedSample], has_histogram: Sequence[bool], dense_prefix: int | float
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, "batch width"], Int[Tensor, "batch width"]]:
    """Right-padded token ids, and for every token its row among the histograms and among the signatures, or -1."""
    prompts = torch.tensor([len(sample.prompt_ids) for sample in batch])
    ids, totals = right_padded([sample.ids for sample in batch])
    in_prompt = eligible(prompts, prompts, ids.shape[1], dense_prefix)
    _refuse_empty(batch, in_prompt.any(dim=1).tolist(), dense_prefix)
    counted = torch.tensor(has_histogram)
    histogram_row = torch.where(counted, counted.cumsum(0) - 1, -1)
    histogram_rows = torch.where(eligible(prompts, totals, ids.shape[1], dense_prefix), histogram_row[:, None], -1)
    signature_rows = torch.where(in_prompt, torch.arange(len(batch))[:, None], -1)
    return ids, histogram_rows, signature_rows


def _tokens(rows: Int[Tensor, "batch width"]) -> Int[np.ndarray, " batch"]:
    return (rows >= 0).sum(dim=1).numpy()


def _refuse_empty(batch: Sequence[TokenizedSample], has_tokens: Sequence[bool], dense_prefix: int | float) -> None:
    for sample, is_observable in zip(batch, has_tokens, strict=True):
        if not is_observable:
            tokens = len(sample.prompt_ids)
            raise UserError(
                "Every prompt must have a token behind the dense prefix",
                found=f"{tokens} tokens, of which `tokens.dense_prefix: {dense_prefix}` keeps all dense",
                where=f"sample {sample.sample_id}",
                remedy="lower `tokens.dense_prefix`, or leave the sample's task out of `benchmark.tasks`",
            )
