"""A two-dimensional map of the samples for the report: UMAP of the clustering space. For looking at, not for deciding.

Seeded, on one thread, and started from the first two principal components instead of a spectral embedding, so that the
map is the same in every run and does not fail when the neighbour graph is not connected. Above `MOST_SAMPLES` a seeded
choice is shown: more points hide each other, and a map of 7,700 took longer than the clustering.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

NEIGHBOURS = 15
MOST_SAMPLES = 2500
FEWEST_SAMPLES = 4
"""Below this UMAP has no neighbourhoods to speak of; the first two components are the map."""


def shown(samples: int, seed: int) -> Int[ndarray, " shown"]:
    """The numbers of the samples that the map shows, ascending: all of them, or `MOST_SAMPLES` drawn ones."""
    order = np.random.default_rng(seed).permutation(samples)
    return np.sort(order[:MOST_SAMPLES])


def coordinates(points: Float[ndarray, "samples components"], seed: int) -> Float[ndarray, "samples 2"]:
    """UMAP coordinates of every sample: neighbours stay neighbours, distances between far points mean little."""
    start = np.zeros((len(points), 2))
    start[:, : min(2, points.shape[1])] = points[:, :2]
    if len(points) < FEWEST_SAMPLES:
        return start
    from umap.umap_ import UMAP  # numba may have nowhere to keep what it compiles then: no reason not to import this

    neighbours = min(NEIGHBOURS, len(points) - 1)
    reducer = cast(Any, UMAP)(n_neighbors=neighbours, min_dist=0.1, init=_spread(start), random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(points), dtype=np.float64)


def _spread(start: Float[ndarray, "samples 2"]) -> Float[ndarray, "samples 2"]:
    """UMAP expects a start of about 20 units across."""
    widest = np.abs(start).max()
    return (start * (10 / widest) if widest > 0 else start).astype(np.float32)
