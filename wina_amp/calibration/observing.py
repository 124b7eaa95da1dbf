"""Groups of samples: clusters of their activation signatures, from a dense pass, and the router to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from jaxtyping import Int
from numpy import ndarray
from torch import nn

from wina_amp.calibration.allocations import Calibration
from wina_amp.capture.passes import observed, signatures
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
    read = [sample.as_read for sample in samples]
    planned = batches([sample.length for sample in read], [sample.sample_id for sample in read], settings.batch)
    for batch in observed(
        calibration.loaded,
        [[read[position] for position in positions] for positions in planned],
        histograms_of=(),
        criteria=(),
        bins=calibration.bins,
        dense_prefix=calibration.dense_prefix,
    ):
        of_batch = signatures(batch.observations, seed=settings.seed, dim=settings.signature_dim)
        vectors |= {row[sample_id]: vector for sample_id, vector in zip(batch.sample_ids, of_batch, strict=True)}
        advance(len(batch.sample_ids))
    every = np.ones(len(samples), dtype=bool)
    points = features(np.stack([vectors[number] for number in range(len(samples))]), every, settings.components)
    assigned = cluster(points, every, Options(KMEANS, groups, 1, settings.seed)).groups
    table = cast(nn.Embedding, calibration.loaded.model.get_input_embeddings()).weight
    prompts = embedding_features(table, [np.asarray(sample.prompt_ids) for sample in samples])
    return assigned, fit_router(prompts, assigned, weight_decay=settings.weight_decay)
