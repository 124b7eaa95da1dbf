"""`pipeline.statistics.agreement`: parity with scikit-learn, and intervals that are those of resampled samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from pipeline.statistics.agreement import (
    adjusted_rand_index,
    agreement,
    contingency,
    nmi_difference,
    normalized_mutual_information,
)

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
    measured = agreement(a, b, replicates=2000, confidence=0.9, seed=0)
    picks = [rng.integers(0, len(a), len(a)) for _ in range(600)]
    slow = np.quantile([adjusted_rand_score(a[p], b[p]) for p in picks], [0.05, 0.95])
    monte_carlo = 0.012  # a 5% quantile of 600 draws with standard deviation 0.03 has a standard error of 0.0026
    assert measured.ari.low == pytest.approx(slow[0], abs=monte_carlo)
    assert measured.ari.high == pytest.approx(slow[1], abs=monte_carlo)
    assert measured.nmi.low < measured.nmi.value < measured.nmi.high
    assert measured.ari.value == adjusted_rand_index(a, b)


def test_agreement_of_independent_labels_has_an_ari_interval_around_zero() -> None:
    a, b = labels(np.random.default_rng(2), "independent")
    measured = agreement(a, b, **DRAW)
    assert measured.ari.low < 0.01 and abs(measured.ari.value) < 0.02


def test_purity_is_the_fraction_of_the_commonest_label_of_every_group() -> None:
    rng = np.random.default_rng(4)

    def purity(groups, labels) -> float:
        return agreement(groups, labels, replicates=1, confidence=0.9, seed=0).purity.value

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
    difference = nmi_difference(other, b, a, replicates=2000, confidence=0.9, seed=0)
    assert difference.value == normalized_mutual_information(b, a) - normalized_mutual_information(other, a)
    picks = [rng.integers(0, len(a), len(a)) for _ in range(600)]
    slow = [normalized_mutual_info_score(b[p], a[p]) - normalized_mutual_info_score(other[p], a[p]) for p in picks]
    monte_carlo = 0.01  # a 5% quantile of 600 draws with standard deviation 0.03 has a standard error of 0.0026
    assert [difference.low, difference.high] == pytest.approx(np.quantile(slow, [0.05, 0.95]), abs=monte_carlo)


def test_an_nmi_difference_of_renamed_groups_is_zero_in_every_replicate(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = labels(np.random.default_rng(7), "noisy copy")
    difference = nmi_difference(a, 9 - a, b, **DRAW)
    assert max(map(abs, (difference.value, difference.low, difference.high))) < ROUNDING
    whole = nmi_difference(a, b, b, **DRAW)
    monkeypatch.setattr("pipeline.statistics.agreement.CELLS", 1000)
    assert nmi_difference(a, b, b, **DRAW) == whole  # whatever is held at a time
