"""`pipeline.statistics.intervals`: parity with scikit-learn and explicit resampling, and the coverage that intervals
promise."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipeline.statistics.intervals import (
    EXTRAPOLATION,
    Curve,
    adjusted_rand_index,
    agreement,
    contingency,
    difference_at_equal_compute,
    mean_interval,
    nmi_difference,
    normalized_mutual_information,
    paired_difference,
    purity,
    reach,
    resampling_weights,
)
from tests.reference.statistics import difference_at, draws

ROUNDING = 1e-12
"""Float64 sums of at most a few thousand terms of size 1, taken in another order."""

DRAW = {"replicates": 400, "confidence": 0.95, "seed": 3}


def labels(rng: np.random.Generator, kind: str, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    a = rng.integers(0, 5, n)
    return {
        "independent": (a, rng.integers(0, 4, n)),
        "noisy copy": (a, np.where(rng.random(n) < 0.3, rng.integers(0, 5, n), a)),
        "renamed": (a, 7 - a),
        "refinement": (a, a * 2 + rng.integers(0, 2, n)),
        "one constant": (a, np.zeros(n, dtype=int)),
        "both constant": (np.ones(n, dtype=int), np.zeros(n, dtype=int)),
        "text": (a.astype(str), np.array(["x", "y"])[rng.integers(0, 2, n)]),
        "singletons": (np.arange(n), np.arange(n)),
    }[kind]


KINDS = ["independent", "noisy copy", "renamed", "refinement", "one constant", "both constant", "text", "singletons"]


@pytest.mark.parametrize("kind", KINDS)
def test_agreement_measures_equal_scikit_learn(kind: str) -> None:
    a, b = labels(np.random.default_rng(1), kind)
    assert normalized_mutual_information(a, b) == pytest.approx(normalized_mutual_info_score(a, b), abs=ROUNDING)
    assert adjusted_rand_index(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=ROUNDING)


def test_contingency_counts_every_sample_once() -> None:
    assert contingency(["a", "b", "a"], [1, 1, 2]).tolist() == [[1, 1], [1, 0]]
    with pytest.raises(ValueError, match="two labelings of the same samples"):
        contingency([0, 1], [0])


def test_agreement_intervals_equal_those_of_resampled_samples() -> None:
    """The multinomial over cells IS the bootstrap over samples: both give the same spread, up to Monte Carlo noise."""
    rng = np.random.default_rng(5)
    a, b = labels(rng, "noisy copy")
    found = agreement(a, b, replicates=2000, confidence=0.9, seed=0)
    picks = [rng.integers(0, len(a), len(a)) for _ in range(600)]
    slow = np.quantile([adjusted_rand_score(a[p], b[p]) for p in picks], [0.05, 0.95])
    monte_carlo = 0.012  # a 5% quantile of 600 draws with standard deviation 0.03 has a standard error of 0.0026
    assert found.ari.low == pytest.approx(slow[0], abs=monte_carlo)
    assert found.ari.high == pytest.approx(slow[1], abs=monte_carlo)
    assert found.nmi.low < found.nmi.value < found.nmi.high
    assert found.ari.value == adjusted_rand_index(a, b)


def test_agreement_of_independent_labels_has_an_ari_interval_around_zero() -> None:
    a, b = labels(np.random.default_rng(2), "independent")
    found = agreement(a, b, **DRAW)
    assert found.ari.low < 0.01 and abs(found.ari.value) < 0.02


def test_purity_is_the_fraction_of_the_commonest_label_of_every_group() -> None:
    rng = np.random.default_rng(4)
    for kind in KINDS:
        a, b = labels(rng, kind)
        slow = sum(max(np.sum(b[a == group] == label) for label in np.unique(b)) for group in np.unique(a)) / len(a)
        assert purity(a, b) == pytest.approx(slow, abs=ROUNDING)
    same = rng.integers(0, 4, 50)
    assert purity(same, same) == 1 and agreement(same, same, **DRAW).purity.low == 1
    assert purity([0, 0, 0, 0], ["x", "x", "x", "y"]) == 0.75
    assert purity(["x", "x", "x", "y"], [0, 0, 0, 0]) == 1  # not symmetric


def test_an_nmi_difference_is_paired_and_equals_that_of_resampled_samples() -> None:
    rng = np.random.default_rng(6)
    a, b = labels(rng, "noisy copy")
    other = np.where(rng.random(len(a)) < 0.2, rng.integers(0, 5, len(a)), b)
    found = nmi_difference(other, b, a, replicates=2000, confidence=0.9, seed=0)
    assert found.value == normalized_mutual_information(b, a) - normalized_mutual_information(other, a)
    picks = [rng.integers(0, len(a), len(a)) for _ in range(600)]
    gaps = [normalized_mutual_info_score(b[p], a[p]) - normalized_mutual_info_score(other[p], a[p]) for p in picks]
    monte_carlo = 0.01  # a 5% quantile of 600 draws with standard deviation 0.03 has a standard error of 0.0026
    assert [found.low, found.high] == pytest.approx(np.quantile(gaps, [0.05, 0.95]), abs=monte_carlo)


def test_an_nmi_difference_of_renamed_groups_is_zero_in_every_replicate(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = labels(np.random.default_rng(7), "noisy copy")
    found = nmi_difference(a, 9 - a, b, **DRAW)
    assert max(map(abs, (found.value, found.low, found.high))) < ROUNDING
    whole = nmi_difference(a, b, b, **DRAW)
    monkeypatch.setattr("pipeline.statistics.intervals.CELLS", 1000)
    assert nmi_difference(a, b, b, **DRAW) == whole  # whatever is held at a time


def test_resampling_weights_are_counts_of_a_draw_with_replacement() -> None:
    weights = resampling_weights(7, 50, 11)
    counts = np.stack([np.bincount(draw, minlength=7) for draw in draws(7, 50, 11)])
    assert np.array_equal(weights, counts / 7)


def test_a_mean_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    trials = [mean_interval(rng.random(80) < 0.7, replicates=300, confidence=0.9, seed=i) for i in range(300)]
    covered = np.mean([t.low <= 0.7 <= t.high for t in trials])
    assert (
        0.83 < covered < 0.95
    )  # 0.9 less the small-sample bias of percentile intervals, plus or minus 3 standard errors of 0.017


def test_a_paired_difference_of_equal_values_is_exactly_zero() -> None:
    values = np.random.default_rng(0).random(50)
    found = paired_difference(values, values, **DRAW)
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_pairing_removes_what_two_methods_fraction() -> None:
    """Hard and easy samples differ a lot, the methods by 0.1 everywhere: the paired interval has (almost) no width."""
    hard = np.random.default_rng(0).normal(0, 1, 200)
    found = paired_difference(hard + 0.1, hard, **DRAW)
    assert found.high - found.low < ROUNDING and found.value == pytest.approx(0.1)


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.0, np.nan], **DRAW)
    with pytest.raises(ValueError, match="same length"):
        paired_difference([0.0, 1.0], [0.0], **DRAW)
    with pytest.raises(ValueError, match="confidence"):
        mean_interval([0.0, 1.0], replicates=10, confidence=1.0, seed=0)


def curve(rng: np.random.Generator, points: int, samples: int, drop: float, shift: float = 0.0) -> Curve:
    target = np.linspace(0, 0.6, points)[:, None] * (1 + shift)
    sparsity = np.maximum(target + (target > 0) * rng.normal(0, 0.02, (points, samples)), 0)
    difficulty = rng.random(samples)
    return Curve((difficulty < 0.95 - drop * target**2).astype(float), sparsity)


def test_difference_at_equal_compute_equals_the_slow_transcription() -> None:
    rng = np.random.default_rng(8)
    first, second = curve(rng, 5, 60, 0.5), curve(rng, 4, 60, 0.9, shift=0.1)
    for at in (0.0, 0.2, 0.37, reach(first)):
        [found] = difference_at_equal_compute(first, second, at, replicates=40, confidence=0.8, seed=2)
        whole = difference_at(first.score, first.sparsity, second.score, second.sparsity, at, [range(60)])
        assert found.difference.value == pytest.approx(whole[0], abs=ROUNDING)
        if (
            at < reach(first) - 0.05
        ):  # past the last point of a replicate np.interp clamps where we continue the segment
            slow = difference_at(first.score, first.sparsity, second.score, second.sparsity, at, draws(60, 40, 2))
            assert [found.difference.low, found.difference.high] == pytest.approx(
                np.quantile(slow, [0.1, 0.9]), abs=ROUNDING
            )


def test_equal_compute_undoes_a_method_that_only_skips_less() -> None:
    """Two methods on one accuracy line, one of them short of its targets, do not differ at equal compute."""
    line = np.array([0.0, 0.25, 0.5])
    score, ones = (1 - 0.4 * line)[:, None], np.ones((3, 10))
    thrifty = Curve(score * ones, line[:, None] * ones)
    timid = Curve((1 - 0.4 * 0.8 * line)[:, None] * ones, 0.8 * line[:, None] * ones)
    [found] = difference_at_equal_compute(thrifty, timid, 0.3, **DRAW)
    assert found.difference.value == pytest.approx(0, abs=ROUNDING)
    assert thrifty.score[1, 0] < timid.score[1, 0]


def test_a_curve_is_continued_a_little_past_its_last_point_and_no_further() -> None:
    ones = np.ones((2, 4))
    one = Curve(np.array([[1.0], [0.5]]) * ones, np.array([[0.0], [0.5]]) * ones)
    [found] = difference_at_equal_compute(one, one, [0.5 + EXTRAPOLATION / 2], **DRAW)
    assert found.first.value == pytest.approx(0.5 - EXTRAPOLATION / 2)
    with pytest.raises(ValueError, match=r"measured from 0\.0000 to 0\.5000"):
        difference_at_equal_compute(one, one, 0.5 + 2 * EXTRAPOLATION, **DRAW)


def test_a_curve_refuses_points_out_of_order_and_unequal_shapes() -> None:
    with pytest.raises(ValueError, match="must rise"):
        Curve(np.zeros((2, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="shape"):
        Curve(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(ValueError, match="same samples"):
        difference_at_equal_compute(
            curve(np.random.default_rng(0), 3, 5, 0.1), curve(np.random.default_rng(0), 3, 6, 0.1), 0.2, **DRAW
        )


def test_a_thousand_replicates_of_two_thousand_samples_take_well_under_a_second() -> None:
    rng = np.random.default_rng(0)
    first, second = curve(rng, 5, 2000, 0.5), curve(rng, 5, 2000, 0.6)
    start = time.process_time()
    difference_at_equal_compute(first, second, [0.25, 0.4, 0.5], replicates=1000, confidence=0.95, seed=0)
    assert time.process_time() - start < 1.0
