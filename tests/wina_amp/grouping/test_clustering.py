"""`wina_amp.grouping.clustering`: every algorithm finds what is there, fits on train samples only, numbers by size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.statistics.agreement import adjusted_rand_index
from wina_amp.errors import UserError
from wina_amp.grouping.clustering import Options, cluster, features

ALGORITHMS = ["kmeans", "gmm", "hdbscan"]
OPTIONS = Options(algorithm="kmeans", count=3, min_cluster_size=8, seed=0)


def blobs(seed: int = 0, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """120 train and 60 test points around three centres; train sizes 60, 40, 20 (labels 0, 1, 2)."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.repeat([0, 1, 2], [60, 40, 20]), np.repeat([0, 1, 2], 20)])
    points = rng.normal(0, 4, (3, 5))[labels] + rng.normal(0, spread, (180, 5))
    order = rng.permutation(180)
    return points[order], labels[order], (np.arange(180) < 120)[order]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_groups_that_are_there_are_found_and_numbered_by_train_size(algorithm: str) -> None:
    points, labels, train = blobs()
    clustering = cluster(points, train, replace(OPTIONS, algorithm=algorithm))
    assert np.array_equal(clustering.groups, labels)
    assert clustering.quality["sizes_train"] == [60, 40, 20] and clustering.quality["sizes_test"] == [20, 20, 20]
    assert clustering.quality["silhouette"] > 0.7 and clustering.quality["stability"] > 0.95


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_train_groups_do_not_depend_on_the_test_samples(algorithm: str) -> None:
    points, _, train = blobs(spread=2.0)
    options = replace(OPTIONS, algorithm=algorithm, min_cluster_size=4)
    alone = cluster(points[train], np.ones(120, dtype=bool), options)
    moved = points.copy()
    moved[~train] += 100
    together = cluster(moved, train, options)
    assert np.array_equal(together.groups[train], alone.groups)
    assert set(together.groups[~train]) <= set(alone.groups)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_runs_agree_to_the_last_bit(algorithm: str) -> None:
    points, _, train = blobs(spread=2.0)
    options = replace(OPTIONS, algorithm=algorithm, min_cluster_size=4)
    first, second = cluster(points, train, options), cluster(points, train, options)
    assert np.array_equal(first.groups, second.groups) and np.array_equal(first.distances, second.distances)
    assert first.quality == second.quality


def test_numbering_does_not_depend_on_the_order_of_samples() -> None:
    points, _, train = blobs()
    flipped = cluster(points[::-1], train[::-1], OPTIONS)
    assert adjusted_rand_index(flipped.groups[::-1], cluster(points, train, OPTIONS).groups) == 1
    assert np.array_equal(flipped.groups[::-1], cluster(points, train, OPTIONS).groups)


def test_distances_are_to_the_train_mean_of_the_group_and_add_up_to_the_inertia() -> None:
    points, _, train = blobs()
    clustering = cluster(points, train, OPTIONS)
    centre = points[train & (clustering.groups == 1)].mean(axis=0)
    assert np.allclose(
        clustering.distances[clustering.groups == 1], np.linalg.norm(points[clustering.groups == 1] - centre, axis=1)
    )
    assert clustering.quality["inertia"] == pytest.approx((clustering.distances[train] ** 2).sum())


def test_one_cluster_has_no_silhouette() -> None:
    points, _, train = blobs()
    clustering = cluster(points, train, replace(OPTIONS, count=1))
    assert clustering.quality["silhouette"] is None and set(clustering.groups) == {0}


def test_hdbscan_gives_noise_samples_to_the_nearest_cluster() -> None:
    points, labels, train = blobs()
    centre = points[labels == 2].mean(axis=0)
    lonely = centre + 3 * (centre - points.mean(axis=0))  # farther out than clusters are apart, on the side of 2
    clustering = cluster(np.vstack([points, lonely]), np.append(train, True), replace(OPTIONS, algorithm="hdbscan"))
    assert clustering.groups[-1] == 2 and clustering.quality["noise_train"] >= 1


def test_more_clusters_than_train_samples_is_the_users_error() -> None:
    points, _, train = blobs()
    with pytest.raises(UserError, match=r"121 clusters for 120 samples.*`cluster\.count`"):
        cluster(points, train, replace(OPTIONS, count=121))


def test_only_noise_and_an_unknown_algorithm_are_the_users_errors() -> None:
    points, _, train = blobs()
    with pytest.raises(UserError, match="all of them noise"):
        cluster(points, train, replace(OPTIONS, algorithm="hdbscan", min_cluster_size=100))
    with pytest.raises(UserError, match="did you mean 'kmeans'"):
        cluster(points, train, replace(OPTIONS, algorithm="kmean"))


def test_every_site_weighs_the_same_in_the_clustering_space_whatever_its_scale() -> None:
    rng = np.random.default_rng(0)
    signatures, train = rng.normal(size=(50, 4, 6)), np.arange(50) < 40
    scaled = signatures * np.array([1, 10, 0.1, 3])[None, :, None] + 5
    rounding = 1e-9  # float64, values of order 1
    assert np.allclose(features(signatures, train, 8), features(scaled, train, 8), atol=rounding)


def test_the_clustering_space_is_fitted_on_train_samples_only() -> None:
    rng = np.random.default_rng(0)
    signatures, train = rng.normal(size=(50, 4, 6)), np.arange(50) < 40
    changed = signatures.copy()
    changed[45] *= 100
    kept = np.arange(50) != 45
    assert np.array_equal(features(signatures, train, 8)[kept], features(changed, train, 8)[kept])


def test_a_site_that_never_varies_and_more_components_than_numbers_are_harmless() -> None:
    signatures, train = np.random.default_rng(0).normal(size=(10, 2, 3)), np.arange(10) < 8
    signatures[:, 0] = 1.0
    space = features(signatures, train, 64)
    assert space.shape == (10, 6) and np.isfinite(space).all()
