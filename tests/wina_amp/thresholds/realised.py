"""What threshold masks really zero on texts, mask by mask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.scoring.criteria import criterion_row
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample


def realised(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    criterion: str,
    values: np.ndarray,
    *,
    dense_prefix: int | float,
    budget: int,
) -> np.ndarray:
    """The fraction of features of the eligible tokens that every mask zeroes; `values`: `[blocks, masks]`."""
    kept, tokens = 0, 0
    with install(loaded, criterion, torch.from_numpy(values)[None]) as runtime, torch.inference_mode():
        for ids, counted in tensors(texts, dense_prefix=dense_prefix, budget=budget):
            with runtime.rows(torch.zeros(len(ids), dtype=torch.int64), counted) as counts:
                loaded.decoder(input_ids=ids, use_cache=False)
            kept, tokens = kept + counts.kept.sum(dim=0).numpy(), tokens + int(counts.tokens.sum())
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    return (1 - kept / (tokens * np.array([mask.projection.in_features for mask in masks]))).reshape(values.shape)


def tensors(
    texts: Sequence[TokenizedSample], *, dense_prefix: int | float, budget: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and eligible tokens of every batch."""
    for batch in batches([text.length for text in texts], [text.sample_id for text in texts], budget):
        ids, totals = right_padded([texts[number].ids for number in batch])
        prompts = torch.tensor([len(texts[number].prompt_ids) for number in batch])
        yield ids, eligible(prompts, totals, ids.shape[1], dense_prefix)
