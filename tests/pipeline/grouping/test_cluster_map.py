"""`pipeline.grouping.cluster_map`: the map is reproducible and keeps neighbours together."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.grouping.cluster_map import MOST_SAMPLES, coordinates, shown


@pytest.mark.slow  # UMAP compiles itself with numba in every process, about 15 s
def test_the_map_is_the_same_in_two_runs_and_keeps_far_groups_apart() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    points = rng.normal(0, 0.2, (60, 6)) + labels[:, None] * 8
    plane = coordinates(points, seed=0)
    assert np.array_equal(plane, coordinates(points, seed=0))
    centres = np.stack([plane[labels == group].mean(axis=0) for group in (0, 1)])
    nearest = np.linalg.norm(plane[:, None] - centres, axis=2).argmin(axis=1)
    assert np.array_equal(nearest, labels)


def test_three_samples_and_one_component_still_get_a_map() -> None:
    assert coordinates(np.eye(3), seed=0).shape == (3, 2)
    assert np.array_equal(coordinates(np.array([[1.0], [2.0]]), seed=0), [[1.0, 0.0], [2.0, 0.0]])


def test_a_map_shows_all_samples_or_a_seeded_choice_of_more() -> None:
    assert np.array_equal(shown(MOST_SAMPLES, seed=0), np.arange(MOST_SAMPLES))
    chosen = shown(3 * MOST_SAMPLES, seed=0)
    assert len(np.unique(chosen)) == MOST_SAMPLES
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, shown(3 * MOST_SAMPLES, seed=0))
    assert not np.array_equal(chosen, shown(3 * MOST_SAMPLES, seed=1))
