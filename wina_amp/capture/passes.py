"""Dense passes over samples, observed: the scores and feature magnitudes of every sample, batch by batch.

Histograms count the eligible tokens of prompt and answer, and only of samples that are to have one. Magnitudes describe
the eligible PROMPT tokens of every sample, because that is all a router may look at.

Rows are right-padded. Under causal attention no real token sees the padding behind it, so no attention mask is needed
and PyTorch's fast causal kernel runs; eligibility comes from lengths. The decoder runs without `lm_head`. Each batch is
completed before the next one begins: memory depends on the token budget, not on the number of samples. A batch that
does not fit into memory is run by halves.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float32, Int
from numpy import ndarray
from torch import Tensor

from wina_amp.capture.observe import Observation, Observer
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.masks.eligibility import eligible
from wina_amp.models.families import SITES
from wina_amp.scoring.signature import project
from wina_amp.tokens.batching import batches
from wina_amp.tokens.halving import in_halves
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel


@dataclass(frozen=True)
class Observed:
    """One batch, or a part of one that did not fit into memory.

    Attributes:
        observations: of every site.
        sample_ids: all samples, in the order of `Observation.magnitudes`.
        prompt_tokens: how many eligible prompt tokens each has.
        counted_ids: the samples that have histograms, in the order of `Observation.counts`.
        counted_tokens: how many tokens of each were counted.
    """

    observations: Sequence[Observation]
    sample_ids: Sequence[str]
    prompt_tokens: Int[ndarray, " samples"]
    counted_ids: Sequence[str]
    counted_tokens: Int[ndarray, " counted"]


def observed(
    loaded: LoadedModel,
    batches: Iterable[Sequence[TokenizedSample]],
    *,
    histograms_of: Container[str],
    criteria: Sequence[str],
    bins: Bins,
    dense_prefix: int | float,
) -> Iterator[Observed]:
    """Run the decoder over every batch, or over its halves where memory runs out.

    Args:
        loaded: the dense model.
        batches: samples that go through the model together (`wina_amp/tokens/batching.py`). Of answers, only the tokens
            that the model reads: not the last one, which is predicted.
        histograms_of: sample_ids whose scores are counted.
        criteria: names in `scoring.CRITERIA`.
        bins: resolution of the histograms.
        dense_prefix: see `eligibility.eligible`.

    Guarantee: the model is as before once the iterator is exhausted or closed; counts of a sample add up to its
    eligible tokens times the features of the projection, for every criterion. Magnitudes do not depend on `criteria`.

    Raises:
        UserError: a sample is longer than the model's context or has no eligible prompt token; unknown criterion; a
            score that is NaN or infinite; a single sample does not fit into memory.
    """
    with Observer(loaded, criteria, bins) as observer:
        for batch in batches:
            _refuse_long(batch, loaded.context)
            width = max(sample.length for sample in batch)
            run = partial(_observe, loaded, observer, histograms_of, dense_prefix, width)
            yield from in_halves(run, batch)


def _observe(
    loaded: LoadedModel,
    observer: Observer,
    histograms_of: Container[str],
    dense_prefix: int | float,
    width: int,
    batch: Sequence[TokenizedSample],
) -> Observed:
    """Run the decoder once, over rows of so many tokens."""
    has_histogram = np.array([sample.sample_id in histograms_of for sample in batch])
    ids, histogram_rows, magnitude_rows = _tensors(batch, has_histogram, dense_prefix, width)
    with observer.batch(histogram_rows, magnitude_rows), torch.inference_mode():
        loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)
    sample_ids = [sample.sample_id for sample in batch]
    return Observed(
        observer.take(),
        sample_ids,
        _tokens(magnitude_rows),
        [sample_id for sample_id, is_counted in zip(sample_ids, has_histogram, strict=True) if is_counted],
        _tokens(histogram_rows)[has_histogram],
    )


def group_counts(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    groups: Int[ndarray, " texts"],
    *,
    criterion: str,
    bins: Bins,
    dense_prefix: int | float,
    budget: int,
    advance: Callable[[int], object] = lambda _texts: None,
) -> list[dict[tuple[int, str], Int[ndarray, " count"]]]:
    """The score histograms of every group, by block and projection: the sums over its texts. Memory depends on groups
    and not on texts.

    Args:
        loaded, criterion, bins, dense_prefix: see `observed`.
        texts: prompts with answers; the last token of an answer is predicted, and not read.
        groups: of every text, from 0.
        budget: most tokens in a batch, padding included.
        advance: called with the number of texts that have run.
    """
    number, read = int(groups.max()) + 1, [text.as_read for text in texts]
    group_of = {text.sample_id: group for text, group in zip(texts, groups.tolist(), strict=True)}
    planned = batches([text.length for text in read], [text.sample_id for text in read], budget)
    totals: dict[tuple[int, str], Int[ndarray, "groups count"]] = {}
    for batch in observed(
        loaded,
        [[read[position] for position in positions] for positions in planned],
        histograms_of=group_of,
        criteria=[criterion],
        bins=bins,
        dense_prefix=dense_prefix,
    ):
        members = [group_of[sample_id] for sample_id in batch.counted_ids]
        for seen in batch.observations:
            for projection, _, counts in seen.by_projection():
                key = (seen.site.block, projection)
                np.add.at(totals.setdefault(key, np.zeros((number, bins.count), dtype=np.int64)), members, counts)
        advance(len(batch.sample_ids))
    return [{key: total[group] for key, total in totals.items()} for group in range(number)]


def signatures(observations: Sequence[Observation], *, seed: int, dim: int) -> Float32[ndarray, "samples sites dim"]:
    """The signature of every sample of one batch at every site; activated gates have none.

    Returns: sites in the order of the observations: by block, then by `families.SITES`.
    """
    inputs = [seen for seen in observations if seen.site.name in SITES]
    vectors = [
        project(seen.magnitudes, seed=seed, block=seen.site.block, site=seen.site.name, dim=dim) for seen in inputs
    ]
    return np.stack(vectors, axis=1)


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
    batch: Sequence[TokenizedSample], has_histogram: ndarray, dense_prefix: int | float, width: int
) -> tuple[Int[Tensor, "batch width"], Int[Tensor, "batch width"], Int[Tensor, "batch width"]]:
    """Right-padded token ids, and for every token its row among the histograms and among the magnitudes, or -1."""
    prompts = torch.tensor([len(sample.prompt_ids) for sample in batch])
    ids, totals = right_padded([sample.ids for sample in batch], width=width)
    in_prompt = eligible(prompts, prompts, ids.shape[1], dense_prefix)
    _refuse_empty(batch, in_prompt.any(dim=1).tolist(), dense_prefix)
    counted = torch.from_numpy(has_histogram)
    histogram_row = torch.where(counted, counted.cumsum(0) - 1, -1)
    histogram_rows = torch.where(eligible(prompts, totals, ids.shape[1], dense_prefix), histogram_row[:, None], -1)
    magnitude_rows = torch.where(in_prompt, torch.arange(len(batch))[:, None], -1)
    return ids, histogram_rows, magnitude_rows


def _tokens(rows: Int[Tensor, "batch width"]) -> Int[ndarray, " batch"]:
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
