"""`pipeline.grouping.cluster_variants`: blocks are clustered alone, and length leaves with its regression."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.grouping.cluster_variants import ALL_BLOCKS, regress_out, variants
from pipeline.statistics.agreement import adjusted_rand_index
from wina_amp.grouping.clustering import Options

OPTIONS = Options(algorithm="kmeans", count=2, min_cluster_size=8, seed=0)
ROUNDING = 1e-9
"""Float64 sums of 100 terms of order 1 to 100."""


def signatures(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """120 samples, 80 of them train: block 0 carries one labeling, block 1 another, and both carry length, strongly."""
    rng = np.random.default_rng(seed)
    early, late = rng.integers(0, 2, 120), rng.integers(0, 2, 120)
    tokens = rng.integers(10, 100, 120)
    values = rng.normal(0, 0.1, (120, 2, 2, 5))
    values[:, 0] += early[:, None, None] * np.array([1.0, -1, 1, -1, 1])
    values[:, 1] += late[:, None, None] * np.array([1.0, 1, -1, -1, 1])
    values += 3 * np.log(tokens)[:, None, None, None] * np.array([1.0, 1, 1, 1, 0])
    return values, tokens, np.stack([early, late]), np.arange(120) < 80


def test_a_block_is_clustered_by_what_it_carries_alone() -> None:
    values, _, _, train = signatures()
    made = variants(values, np.full(120, 9), train, 4, OPTIONS)
    assert [(variant.kind, variant.block) for variant in made] == [
        ("block", 0),
        ("block", 1),
        ("length_removed", ALL_BLOCKS),
    ]
    assert [variant.name for variant in made] == ["block 0", "block 1", "length_removed"]
    changed = values.copy()
    changed[:, 1] = values[::-1, 1]
    again = variants(changed, np.full(120, 9), train, 4, OPTIONS)
    assert np.array_equal(made[0].clustering.groups, again[0].clustering.groups)


def test_with_length_removed_groups_follow_what_length_had_hidden() -> None:
    values, tokens, labels, train = signatures()
    values[:, 1] = values[:, 0]  # one labeling only, so that two groups can follow it
    with_length, *_, without = variants(values, tokens, train, 4, OPTIONS)
    is_long = tokens > np.median(tokens)
    assert adjusted_rand_index(with_length.clustering.groups, is_long) > 0.3
    assert adjusted_rand_index(with_length.clustering.groups, labels[0]) < 0.1
    assert adjusted_rand_index(without.clustering.groups, labels[0]) > 0.9


def test_what_is_left_is_uncorrelated_with_the_covariate_over_train_samples() -> None:
    values, tokens, _, train = signatures()
    covariate = np.log(tokens)
    left = regress_out(values, covariate, train)
    assert left.shape == values.shape
    flat, centred = left[train].reshape(80, -1), covariate[train] - covariate[train].mean()
    assert np.abs(centred @ flat).max() < ROUNDING and np.abs(flat.sum(axis=0)).max() < ROUNDING


def test_each_number_equals_its_own_least_squares_fit() -> None:
    values, tokens, _, train = signatures()
    left = regress_out(values, np.log(tokens), train)
    gradient, constant = np.polyfit(np.log(tokens)[train], values[train, 1, 0, 2], 1)
    expected = values[:, 1, 0, 2] - constant - gradient * np.log(tokens)
    np.testing.assert_allclose(left[:, 1, 0, 2], expected, atol=ROUNDING)


def test_the_fit_does_not_see_test_samples_and_a_constant_covariate_takes_the_mean_only() -> None:
    values, tokens, _, train = signatures()
    moved = values.copy()
    moved[~train] += 50
    first, second = (regress_out(rows, np.log(tokens), train)[train] for rows in (values, moved))
    assert np.array_equal(first, second)
    np.testing.assert_allclose(
        regress_out(values, np.ones(120), train), values - values[train].mean(axis=0), atol=ROUNDING
    )


def test_signatures_without_clusters_have_no_variant_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    values, tokens, _, train = signatures()
    hdbscan = Options(algorithm="hdbscan", count=2, min_cluster_size=70, seed=0)
    assert variants(values, tokens, train, 4, hdbscan) == []
    assert "no clusters in the variant block of block 0" in caplog.text
