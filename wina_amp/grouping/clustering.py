"""Cluster samples by which features fire: k-means, Gaussian mixture or HDBSCAN on their signatures.

Everything is fitted on train samples only; test samples are assigned by the fitted rule. Signatures are centred and
scaled per block and site (one factor for all numbers of a site: a random projection keeps distances, so rescaling its
numbers one by one would distort them, while sites as a whole differ in spread for no interesting reason). Principal
components then remove the noise that many samples do not share.

Groups are numbered by train size, largest first, so that numbers mean the same in every run. The fitted rules:
nearest centre (k-means), highest posterior (mixture), and the cluster of the nearest clustered train sample (HDBSCAN,
whose noise samples are assigned that way too: every sample needs a profile).

Deterministic for a seed on one machine. The map for the report is in `pipeline/grouping/cluster_map.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from wina_amp import names
from wina_amp.errors import UserError, unknown

STARTS = 10
"""Random starts of k-means and the mixture; the best one by their own objective is kept."""

HALVES = 5
"""Pairs of half-sample fits behind `stability`."""

SILHOUETTE_SAMPLES = 2000
"""The silhouette needs all pairwise distances: above this many train samples it is computed on a seeded subset."""

Points = Float[ndarray, "samples components"]
Rule = Callable[[Points], Int[ndarray, " samples"]]


@dataclass(frozen=True)
class Options:
    """Settings of a clustering; the fields are those of the section `cluster` in params.yaml."""

    algorithm: str
    count: int
    min_cluster_size: int
    seed: int


@dataclass(frozen=True)
class Clustering:
    """Groups of all samples with measures of their quality.

    Attributes:
        groups: group of every sample, from 0, ordered by train size.
        distances: Euclidean distance of every sample to the centre (train mean) of its group.
        quality: silhouette, stability (mean ARI of fits to two random halves, compared on all train samples), inertia,
            sizes per split, noise samples; numbers are None where undefined (one group, or halves too small).
    """

    groups: Int[ndarray, " samples"]
    distances: Float[ndarray, " samples"]
    quality: dict[str, object]


def features(
    signatures: Float[ndarray, "samples sites dim"], train: Bool[ndarray, " samples"], components: int
) -> Points:
    """The clustering space: signatures centred and scaled per site, then their first principal components.

    Mean, scale and components come from the train samples. At most `components` are kept, fewer if there are fewer
    train samples or numbers.
    """
    vectors = signatures.astype(np.float64)
    vectors -= vectors[train].mean(axis=0)
    spread = np.sqrt((vectors[train] ** 2).sum(axis=2).mean(axis=0))
    vectors /= np.where(spread > 0, spread, 1.0)[None, :, None]
    flat = vectors.reshape(len(vectors), -1)
    kept = min(components, int(train.sum()), flat.shape[1])
    return PCA(kept, svd_solver="full").fit(flat[train]).transform(flat)


def cluster(points: Points, train: Bool[ndarray, " samples"], options: Options) -> Clustering:
    """Fit on the train samples and assign every sample.

    Raises:
        UserError: unknown algorithm; more clusters than train samples; HDBSCAN finds no cluster.
    """
    known = points[train]
    rule, noise = _fit(known, options)
    own = rule(known)
    order = by_size(own)
    rename = np.full(int(order.max()) + 1, -1, dtype=np.int64)
    rename[order] = np.arange(len(order))
    groups = np.empty(len(points), dtype=np.int64)
    groups[train] = rename[own]
    if not train.all():
        groups[~train] = rename[rule(points[~train])]
    centres = np.stack([points[train & (groups == group)].mean(axis=0) for group in range(len(order))])
    distances = np.linalg.norm(points - centres[groups], axis=1)
    quality: dict[str, object] = {
        "algorithm": options.algorithm,
        "groups": len(order),
        "components": points.shape[1],
        "sizes_train": np.bincount(groups[train], minlength=len(order)).tolist(),
        "sizes_test": np.bincount(groups[~train], minlength=len(order)).tolist(),
        "noise_train": noise,
        "silhouette": _silhouette(known, groups[train], options.seed),
        "stability": _stability(known, options),
        "inertia": float((distances[train] ** 2).sum()),
    }
    return Clustering(groups, distances, quality)


def _fit(points: Points, options: Options) -> tuple[Rule, int]:
    """The fitted rule, which returns only groups that occur among `points`, and how many points were noise."""
    if options.algorithm not in _ALGORITHMS:
        raise unknown("clustering algorithm", options.algorithm, _ALGORITHMS, "`cluster.algorithm`")
    if options.algorithm != names.HDBSCAN and options.count > len(points):
        raise UserError(
            "`cluster.count` must not exceed the number of train samples",
            found=f"{options.count} clusters for {len(points)} samples",
            where="`cluster.count` in params.yaml",
            remedy="lower `cluster.count` or raise `benchmark.train_samples`",
        )
    return _ALGORITHMS[options.algorithm](points, options)


def _kmeans(points: Points, options: Options) -> tuple[Rule, int]:
    fitted = cast(Any, KMeans)(options.count, n_init=STARTS, random_state=options.seed).fit(points)
    return fitted.predict, 0


def _mixture(points: Points, options: Options) -> tuple[Rule, int]:
    fitted = GaussianMixture(
        options.count, covariance_type="diag", n_init=STARTS, random_state=options.seed, reg_covar=1e-4, max_iter=300
    ).fit(points)
    occupied = np.unique(fitted.predict(points))  # a component that wins no train sample has no profile

    def rule(queries: Points) -> Int[ndarray, " samples"]:
        return occupied[fitted.predict_proba(queries)[:, occupied].argmax(axis=1)]

    return rule, 0


def _hdbscan(points: Points, options: Options) -> tuple[Rule, int]:
    size = min(options.min_cluster_size, len(points))
    labels = cast(Any, HDBSCAN)(min_cluster_size=max(size, 2), copy=True).fit_predict(points)
    inside = labels >= 0
    if not inside.any():
        raise UserError(
            "HDBSCAN must find at least one cluster",
            found=f"{len(points)} train samples, all of them noise",
            where="`cluster.algorithm: hdbscan` in params.yaml",
            remedy="lower `cluster.min_cluster_size`, or use `cluster.algorithm: kmeans`",
        )
    members, nearest = labels[inside], NearestNeighbors(n_neighbors=1).fit(points[inside])

    def rule(queries: Points) -> Int[ndarray, " samples"]:
        return members[nearest.kneighbors(queries, return_distance=False)[:, 0]]

    return rule, int((~inside).sum())


_ALGORITHMS: dict[str, Callable[[Points, Options], tuple[Rule, int]]] = {
    names.KMEANS: _kmeans,
    names.GMM: _mixture,
    names.HDBSCAN: _hdbscan,
}


def by_size(groups: Int[ndarray, " samples"]) -> Int[ndarray, " groups"]:
    """The groups that occur, largest first; equal sizes in order of their first sample."""
    names, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    return names[np.lexsort((first, -sizes))]


def _silhouette(points: Points, groups: Int[ndarray, " samples"], seed: int) -> float | None:
    chosen = np.arange(len(points))
    if len(points) > SILHOUETTE_SAMPLES:
        chosen = np.sort(np.random.default_rng(seed).choice(len(points), SILHOUETTE_SAMPLES, replace=False))
    if not 2 <= len(np.unique(groups[chosen])) < len(chosen):
        return None
    return float(silhouette_score(points[chosen], groups[chosen]))


def _stability(points: Points, options: Options) -> float | None:
    """Mean ARI between the groupings of all train samples by rules fitted to two disjoint random halves."""
    generator = np.random.default_rng(options.seed)
    scores: list[float] = []
    for _ in range(HALVES):
        shuffled = generator.permutation(len(points))
        halves = np.array_split(shuffled, 2)
        try:
            first, second = (_fit(points[half], options)[0](points) for half in halves)
        except UserError:
            return None
        scores.append(float(adjusted_rand_score(first, second)))
    return float(np.mean(scores))
