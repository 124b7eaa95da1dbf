"""`pipeline.statistics.matched_compute`: scores at a given realised sparsity equal the slow transcription."""

from __future__ import annotations

import time

import numpy as np
import pytest

from pipeline.statistics.bootstrap import resampling_weights
from pipeline.statistics.matched_compute import EXTRAPOLATION, Curve, score_at, values_at
from tests.reference.statistics import difference_at, draws

ROUNDING = 1e-12
"""Float64 sums of at most a few hundred terms of size 1, taken in another order."""


def curve(rng: np.random.Generator, points: int, samples: int, drop: float, shift: float = 0.0) -> Curve:
    target = np.linspace(0, 0.6, points)[:, None] * (1 + shift)
    sparsity = np.maximum(target + (target > 0) * rng.normal(0, 0.02, (points, samples)), 0)
    difficulty = rng.random(samples)
    return Curve((difficulty < 0.95 - drop * target**2).astype(float), sparsity)


def means(samples: int) -> np.ndarray:
    """The one replicate that is the plain mean."""
    return np.full((1, samples), 1 / samples)


def test_a_paired_difference_equals_the_slow_transcription() -> None:
    rng = np.random.default_rng(8)
    first, second = curve(rng, 5, 60, 0.5), curve(rng, 4, 60, 0.9, shift=0.1)
    last = float(first.sparsity[-1].mean())
    for at in (0.0, 0.2, 0.37, last):
        value = score_at(first, at, means(60)) - score_at(second, at, means(60))
        whole = difference_at(first.score, first.sparsity, second.score, second.sparsity, at, [range(60)])
        assert value == pytest.approx(whole, abs=ROUNDING)
        # Past the last point of a replicate np.interp clamps where we continue the segment.
        if at < last - 0.05:
            weights = resampling_weights(60, 40, 2)
            slow = difference_at(first.score, first.sparsity, second.score, second.sparsity, at, draws(60, 40, 2))
            assert score_at(first, at, weights) - score_at(second, at, weights) == pytest.approx(slow, abs=ROUNDING)


def test_equal_compute_undoes_a_method_that_only_skips_less() -> None:
    """Two methods on one accuracy line, one of them short of its targets, do not differ at equal compute."""
    line = np.array([0.0, 0.25, 0.5])
    score, ones = (1 - 0.4 * line)[:, None], np.ones((3, 10))
    thrifty = Curve(score * ones, line[:, None] * ones)
    timid = Curve((1 - 0.4 * 0.8 * line)[:, None] * ones, 0.8 * line[:, None] * ones)
    assert score_at(thrifty, 0.3, means(10)) == pytest.approx(score_at(timid, 0.3, means(10)), abs=ROUNDING)
    assert thrifty.score[1, 0] < timid.score[1, 0]


def test_a_curve_is_continued_a_little_past_its_last_point_and_no_further() -> None:
    ones = np.ones((2, 4))
    straight = Curve(np.array([[1.0], [0.5]]) * ones, np.array([[0.0], [0.5]]) * ones)
    assert score_at(straight, 0.5 + EXTRAPOLATION / 2, means(4)) == pytest.approx(0.5 - EXTRAPOLATION / 2)
    for at in (0.5 + 2 * EXTRAPOLATION, -0.01):
        with pytest.raises(ValueError, match=r"measured from 0\.0000 to 0\.5000"):
            score_at(straight, at, means(4))


def test_values_of_samples_have_the_mean_of_the_curve_and_the_variance_of_its_bootstrap() -> None:
    """2,000 replicates know a standard error to 1.6%; that of 500 samples is linear to about as much."""
    rng = np.random.default_rng(3)
    one = curve(rng, 5, 500, 0.8)
    for at in (0.1, 0.3, 0.45, float(one.sparsity[-1].mean())):
        values = values_at(one, at)
        assert values.mean() == pytest.approx(score_at(one, at, means(500))[0], abs=ROUNDING)
        replicates = score_at(one, at, resampling_weights(500, 2000, 1))
        assert values.std() / np.sqrt(500) == pytest.approx(replicates.std(), rel=0.06)


def test_a_curve_refuses_points_out_of_order_and_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Curve(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="shape"):
        Curve(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="at least two points"):
        Curve(np.zeros((1, 3)), np.zeros((1, 3)))


def test_a_thousand_replicates_of_two_thousand_samples_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    curves = [curve(rng, 5, 2000, drop) for drop in (0.5, 0.6)]
    start = time.process_time()
    weights = resampling_weights(2000, 1000, 0)
    for at in (0.25, 0.4, 0.5):
        for either in curves:
            score_at(either, at, weights)
    assert time.process_time() - start < 1.0
