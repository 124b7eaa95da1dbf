"""`wina_amp.scoring.signature`: distances survive the projection, strength does not, seeds decide."""

from __future__ import annotations

import numpy as np
import pytest

from wina_amp.models.families import SITES
from wina_amp.scoring.signature import matrix, project

WHERE = {"seed": 3, "block": 1, "site": "down", "dim": 32}
FIVE_SIGMA = 5
FLOAT32 = 1e-7
"""Rounding of a number below 1 to float32."""


def _profiles(samples=6, features=300, seed=0):
    return np.random.default_rng(seed).exponential(1, (samples, features)).astype(np.float32)


def test_squared_distances_of_directions_are_kept_with_the_stated_error():
    dim, pairs = 64, 200
    profiles = _profiles(2 * pairs)
    directions = profiles / np.linalg.norm(profiles, axis=1, keepdims=True)
    exact = ((directions[::2] - directions[1::2]) ** 2).sum(axis=1)
    ratios = []
    for block in range(pairs):  # one matrix each, so that the errors are independent
        a, b = project(profiles[2 * block : 2 * block + 2], seed=0, block=block, site="o", dim=dim).astype(float)
        ratios.append(((a - b) ** 2).sum() / exact[block])
    stated = np.sqrt(2 / dim)
    assert abs(np.mean(ratios) - 1) < FIVE_SIGMA * stated / np.sqrt(pairs)
    assert 0.8 * stated < np.std(ratios) < 1.2 * stated  # a standard deviation over 200 draws is known to 5 %


def test_only_the_direction_counts_so_sums_serve_as_well_as_means():
    profiles = _profiles()
    np.testing.assert_allclose(project(profiles * 1024, **WHERE), project(profiles, **WHERE), atol=FLOAT32)


def test_a_sample_without_activity_has_a_zero_signature():
    assert not project(np.zeros((1, 10)), **WHERE).any()


def test_signatures_do_not_depend_on_what_they_are_computed_with():
    profiles = _profiles()
    together = project(profiles, **WHERE)
    for row in range(len(profiles)):
        np.testing.assert_allclose(project(profiles[row : row + 1], **WHERE)[0], together[row], atol=FLOAT32)


@pytest.mark.parametrize("other", [{"seed": 4}, {"block": 2}, {"site": "o"}])
def test_seed_block_and_site_each_give_another_matrix(other):
    assert not np.array_equal(project(_profiles(), **WHERE), project(_profiles(), **WHERE | other))


def test_the_matrix_is_the_same_in_every_process():
    matrix.cache_clear()
    first = matrix(0, 0, SITES[0], 5, 2).copy()
    matrix.cache_clear()
    assert np.array_equal(matrix(0, 0, SITES[0], 5, 2), first)
    golden = np.random.default_rng([0, 0, 0, 5, 2]).standard_normal((5, 2), dtype=np.float32) / np.float32(np.sqrt(2))
    assert np.array_equal(first, golden)
