"""The score histograms of groups, and the groups themselves: clusters of activation signatures, and their router.

Both are dense passes over the samples (`wina_amp/capture/passes.py`). Groups are known when the histograms are counted,
so that memory depends on groups and not on samples.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import cast

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from wina_amp.calibration.allocations import Calibration, Counts
from wina_amp.capture.passes import Observed, observed, signatures
from wina_amp.names import EMBEDDING, KMEANS
from wina_amp.routing.router import Router, embedding_features
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import TokenizedSample

FACTS = {"router": EMBEDDING}


def clustered(
    calibration: Calibration, samples: Sequence[TokenizedSample], groups: int, advance: Callable[[int], object]
) -> tuple[Int[ndarray, " samples"], Router]:
    """The group of every sample, and the router from prompts to groups (`embedding`).

    Args:
        calibration: the dense model, and how it is observed.
        samples: all samples.
        groups: how many, at least 2 and at most one a sample.
        advance: called with the number of samples that have run.
    """
    from wina_amp.grouping.clustering import Options, cluster, features
    from wina_amp.routing.router_fit import fit_router

    settings = calibration.settings
    row = {sample.sample_id: number for number, sample in enumerate(samples)}
    vectors: dict[int, ndarray] = {}
    for batch in _passes(calibration, samples, histograms_of=(), criteria=()):
        of_batch = signatures(batch.observations, seed=settings.seed, dim=settings.signature_dim)
        vectors |= {row[sample_id]: vector for sample_id, vector in zip(batch.sample_ids, of_batch, strict=True)}
        advance(len(batch.sample_ids))
    every = np.ones(len(samples), dtype=bool)
    points = features(np.stack([vectors[number] for number in range(len(samples))]), every, settings.components)
    assigned = cluster(points, every, Options(KMEANS, groups, 1, settings.seed)).groups
    table = cast(nn.Embedding, calibration.loaded.model.get_input_embeddings()).weight
    prompts = embedding_features(table, [np.asarray(sample.prompt_ids) for sample in samples])
    return assigned, fit_router(prompts, assigned, weight_decay=settings.weight_decay)


def group_counts(
    calibration: Calibration,
    samples: Sequence[TokenizedSample],
    groups: Int[ndarray, " samples"],
    advance: Callable[[int], object],
) -> list[Counts]:
    """The score histograms of every group: the sums over its samples."""
    number, bins = int(groups.max()) + 1, calibration.bins
    group_of = {sample.sample_id: group for sample, group in zip(samples, groups.tolist(), strict=True)}
    totals: dict[tuple[int, str], Int[ndarray, "groups count"]] = {}
    for batch in _passes(calibration, samples, histograms_of=group_of, criteria=[calibration.criterion]):
        members = [group_of[sample_id] for sample_id in batch.counted_ids]
        for seen in batch.observations:
            for projection, _, counts in seen.by_projection():
                key = (seen.site.block, projection)
                np.add.at(totals.setdefault(key, np.zeros((number, bins.count), dtype=np.int64)), members, counts)
        advance(len(batch.sample_ids))
    return [{key: total[group] for key, total in totals.items()} for group in range(number)]


def _passes(
    calibration: Calibration,
    samples: Sequence[TokenizedSample],
    *,
    histograms_of: Container[str],
    criteria: Sequence[str],
) -> Iterator[Observed]:
    read = [sample.as_read for sample in samples]
    budget = calibration.settings.batch
    planned = batches([sample.length for sample in read], [sample.sample_id for sample in read], budget)
    return observed(
        calibration.loaded,
        [[read[number] for number in batch] for batch in planned],
        histograms_of=histograms_of,
        criteria=criteria,
        bins=calibration.bins,
        dense_prefix=calibration.dense_prefix,
    )
