"""`pipeline.statistics.significance`: p-values are uniform where nothing is there, and small where something is."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.statistics.agreement import normalized_mutual_information
from pipeline.statistics.bootstrap import resampling_weights
from pipeline.statistics.significance import bootstrap_p, fewest_replicates, holm, permutation_p
from tests.reference.statistics import holm_slowly

ROUNDING = 1e-12
"""Products of a p-value and a small whole number, taken in another order."""
SMALL = {"permutations": 99, "seed": 0}


def test_permutation_p_of_independent_labels_is_uniform() -> None:
    rng = np.random.default_rng(0)
    values = [
        permutation_p(rng.integers(0, 4, 120), rng.integers(0, 3, 120), permutations=99, seed=i) for i in range(400)
    ]
    three_errors = 3 * np.sqrt(0.25 / 400)  # the largest standard error of a fraction of 400
    for alpha in (0.05, 0.1, 0.25, 0.5, 0.75):
        assert np.mean(np.array(values) <= alpha) == pytest.approx(alpha, abs=three_errors)


def test_permutation_p_of_labels_that_agree_is_the_smallest_that_can_be_shown() -> None:
    labels = np.arange(60) % 3
    assert permutation_p(labels, 2 - labels, **SMALL) == pytest.approx(1 / 100)
    assert permutation_p(labels.astype(str), labels, **SMALL) == pytest.approx(1 / 100)


def test_permutation_p_of_a_constant_label_is_one() -> None:
    assert permutation_p(np.arange(30) % 3, np.zeros(30), **SMALL) == 1


def test_permutation_p_orders_tables_as_nmi_does() -> None:
    """With all permutations of five samples counted by NMI, the sampled fraction must come out the same."""
    rng = np.random.default_rng(3)
    a, b = np.array([0, 0, 1, 1, 2, 2, 0, 1]), np.array([0, 0, 1, 1, 1, 0, 0, 1])
    observed = normalized_mutual_information(a, b)
    slow = np.mean([normalized_mutual_information(a, rng.permutation(b)) >= observed - ROUNDING for _ in range(4000)])
    sampled = permutation_p(a, b, permutations=4000, seed=1)
    assert sampled == pytest.approx(slow, abs=0.03)  # two fractions of 4,000 draws: three standard errors of 0.011


def test_permutation_p_does_not_depend_on_how_many_permutations_are_held_at_a_time(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 3, 50), rng.integers(0, 3, 50)
    whole = permutation_p(a, b, permutations=300, seed=2)
    monkeypatch.setattr("pipeline.statistics.significance.CHUNK", 120)
    assert permutation_p(a, b, permutations=300, seed=2) == whole


def test_bootstrap_p_agrees_with_the_interval_of_the_same_replicates() -> None:
    rng = np.random.default_rng(0)
    for shift in np.linspace(-4, 4, 81):
        draws = rng.normal(shift, 1, 200)
        for alpha in (0.01, 0.05, 0.2, 0.5):
            low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
            if bootstrap_p(draws) < alpha:
                assert low > 0 or high < 0


def test_bootstrap_p_of_a_mean_is_uniform_where_the_true_mean_is_zero() -> None:
    rng = np.random.default_rng(0)
    weights = resampling_weights(150, 399, 0)
    values = np.array([bootstrap_p(weights @ rng.normal(0, 1, 150)) for _ in range(600)])
    for alpha in (0.05, 0.2, 0.5):
        # Three standard errors of a fraction of 600; percentile intervals of 150 samples are 1 point too narrow.
        assert np.mean(values <= alpha) == pytest.approx(alpha, abs=3 * np.sqrt(alpha * (1 - alpha) / 600) + 0.01)


def test_bootstrap_p_of_no_difference_at_all_is_one_and_never_zero_otherwise() -> None:
    assert bootstrap_p(np.zeros(100)) == 1
    assert bootstrap_p(np.ones(99)) == pytest.approx(0.02)


def test_holm_equals_the_slow_transcription() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 20):
        values = np.round(rng.random(size) ** 4, 2).tolist()  # rounded: with ties
        assert holm(values) == pytest.approx(holm_slowly(values), abs=ROUNDING)
    assert holm([]) == []


def test_holm_keeps_the_chance_of_any_false_claim_below_alpha() -> None:
    rng = np.random.default_rng(0)
    false = [min(holm(rng.random(6).tolist())) < 0.05 for _ in range(3000)]
    assert np.mean(false) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 3000)


def test_holm_is_at_least_the_p_value_at_most_bonferroni_and_keeps_the_order() -> None:
    values = np.random.default_rng(1).random(9)
    corrected = np.array(holm(values.tolist()))
    assert (corrected >= values).all() and (corrected <= np.minimum(9 * values, 1)).all()
    assert (np.diff(corrected[np.argsort(values)]) >= 0).all()


def test_with_the_fewest_replicates_one_comparison_can_be_claimed_and_with_fewer_none_can() -> None:
    for comparisons, alpha in ((1, 0.05), (7, 0.05), (3, 0.01), (11, 0.1)):
        enough = fewest_replicates(comparisons, alpha)
        claims = [holm([bootstrap_p(np.ones(count))] * comparisons)[0] < alpha for count in (enough - 3, enough)]
        assert claims == [False, True]


def test_nothing_to_count_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one permutation"):
        permutation_p([0, 1], [0, 1], permutations=0, seed=0)
    with pytest.raises(ValueError, match="two labelings of the same samples"):
        permutation_p([0, 1], [0], permutations=9, seed=0)
    with pytest.raises(ValueError, match="at least one replicate"):
        bootstrap_p(np.array([]))
