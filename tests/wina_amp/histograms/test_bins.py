"""`wina_amp.histograms.bins`: the quantile bound over distributions, special bins, merging, and parity with
logarithms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference import capture as reference
from wina_amp.histograms.bins import (
    FIRST_BIN,
    HIGHEST_EXPONENT,
    LOWEST_EXPONENT,
    UNDERFLOW_BIN,
    ZERO_BIN,
    Bins,
)

ROUNDING = 1e-12
"""Relative rounding of a few float64 operations."""

SMALLEST = 2.0**LOWEST_EXPONENT
LARGEST = 2.0**HIGHEST_EXPONENT
QUANTILES = [0.0, 1e-6, 0.01, 0.25, 0.4, 0.5, 0.65, 0.9, 0.999, 1.0]
DISTRIBUTIONS = {
    "half normal": lambda g, n: np.abs(g.standard_normal(n)),
    "lognormal over many octaves": lambda g, n: g.lognormal(-3, 4, n),
    "exponential": lambda g, n: g.exponential(1e-4, n),
    "uniform": lambda g, n: g.uniform(0, 1, n),
    "half zeros": lambda g, n: np.where(g.uniform(size=n) < 0.5, 0, g.exponential(1, n)),
    "constant": lambda g, n: np.full(n, 0.3),
    "two far clusters": lambda g, n: np.where(g.uniform(size=n) < 0.5, 1e-6, 1e5) * g.uniform(1, 1.01, n),
}


def _scores(name, n, seed=0):
    return DISTRIBUTIONS[name](np.random.default_rng(seed), n).astype(np.float32)


@pytest.mark.parametrize("mantissa_bits", [0, 3, 4, 8])
@pytest.mark.parametrize("n", [1, 7, 2000])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_quantile_is_within_the_stated_relative_error(name, n, mantissa_bits):
    bins, scores = Bins(mantissa_bits), _scores(name, n)
    estimates = bins.quantile(bins.histogram(scores), QUANTILES)
    exact = np.array([reference.exact_quantile(scores, q) for q in QUANTILES])
    assert np.all(np.abs(estimates - exact) <= bins.relative_error * exact * (1 + ROUNDING) + SMALLEST)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_quantile_and_fraction_are_monotone_and_inverse(name):
    bins = Bins(4)
    counts = bins.histogram(_scores(name, 2000))
    q = np.linspace(0, 1, 201)
    t = bins.quantile(counts, q)
    assert np.all(np.diff(t) >= 0)
    fractions = bins.fraction_at_or_below(counts, t)
    assert np.all(np.diff(fractions) >= -ROUNDING)
    zeros = counts[ZERO_BIN] / counts.sum()
    np.testing.assert_allclose(fractions, np.maximum(q, zeros), atol=ROUNDING)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_fraction_is_exact_just_below_every_edge(name):
    bins, scores = Bins(3), _scores(name, 500)
    edges = bins.edges[FIRST_BIN:-1]
    exact = (scores[:, None] < edges).mean(axis=0)
    np.testing.assert_allclose(bins.fraction_at_or_below(bins.histogram(scores), edges), exact, atol=ROUNDING)


@pytest.mark.parametrize("mantissa_bits", range(9))
def test_bins_agree_with_logarithms_on_random_scores_and_at_every_edge(mantissa_bits):
    bins = Bins(mantissa_bits)
    edges = bins.edges[FIRST_BIN:-1].astype(np.float32)
    random = np.random.default_rng(1).lognormal(0, 10, 500).astype(np.float32)
    special = np.array([0, 1e-45, 1e-38, SMALLEST, LARGEST, np.finfo(np.float32).max], dtype=np.float32)
    sample = edges[:: max(1, len(edges) // 500)]
    values = np.concatenate([random, special, sample, np.nextafter(sample, np.float32(0))])
    assert bins.index(values).tolist() == [reference.bin_of(value, mantissa_bits) for value in values]


def test_edges_are_exact_in_float32_and_ascend():
    edges = Bins(8).edges
    assert np.array_equal(edges, edges.astype(np.float32))
    assert np.all(np.diff(edges[1:]) > 0)
    assert len(edges) == Bins(8).count + 1


def test_every_index_fits_the_tables_int16():
    assert Bins(8).index(np.float32(1e30)) == Bins(8).count - 1 <= np.iinfo(np.int16).max


def test_the_middle_of_every_bin_lies_in_it():
    bins = Bins(4)
    middle = (bins.edges[FIRST_BIN:-2] + bins.edges[FIRST_BIN + 1 : -1]) / 2
    assert np.array_equal(bins.index(middle.astype(np.float32)), np.arange(FIRST_BIN, bins.count - 1))


def test_zero_underflow_and_overflow_have_bins_of_their_own():
    bins = Bins(4)
    scores = np.array([0.0, -0.0, SMALLEST / 2, SMALLEST, LARGEST * 0.99, LARGEST, 1e38], dtype=np.float32)
    last = bins.count - 1
    assert bins.index(scores).tolist() == [ZERO_BIN, ZERO_BIN, UNDERFLOW_BIN, FIRST_BIN, last - 1, last, last]


def test_of_overflowing_scores_only_their_lower_bound_is_known():
    bins = Bins(4)
    counts = bins.histogram(np.array([1.0, 2.0**30, 2.0**31], dtype=np.float32))
    assert bins.quantile(counts, [0.5, 1.0]).tolist() == [LARGEST, LARGEST]
    assert bins.fraction_at_or_below(counts, [1e30, np.inf]).tolist() == [pytest.approx(1 / 3), 1.0]


@given(st.lists(st.lists(st.floats(0, 1e6, width=32), max_size=30), min_size=1, max_size=6), st.integers(0, 8))
@settings(max_examples=60, deadline=None)
def test_the_merge_of_trimmed_parts_is_the_histogram_of_the_whole(parts, mantissa_bits):
    bins = Bins(mantissa_bits)
    rows = np.stack([bins.histogram(np.array(part, dtype=np.float32)) for part in parts])
    trimmed = bins.trim(rows)
    assert np.array_equal(bins.dense(trimmed), rows)
    whole = bins.histogram(np.array([score for part in parts for score in part], dtype=np.float32))
    assert np.array_equal(bins.merge(trimmed, np.zeros(len(parts), dtype=int), 1)[0], whole)
    ends = bins.merge(trimmed, np.arange(len(parts)) % 2, 3)
    assert np.array_equal(ends, [rows[0::2].sum(axis=0), rows[1::2].sum(axis=0), np.zeros(bins.count)])


def test_trimmed_rows_begin_and_end_with_scores_and_an_empty_histogram_has_none():
    bins = Bins(4)
    rows = np.stack([*(bins.histogram(_scores(name, 300)) for name in DISTRIBUTIONS), np.zeros(bins.count, dtype=int)])
    trimmed = bins.trim(rows)
    assert trimmed.first.dtype == np.int16 and trimmed.first[-1] == 0 and trimmed.offsets[-1] == trimmed.offsets[-2]
    for row, (start, end) in enumerate(zip(trimmed.offsets[:-2], trimmed.offsets[1:-1], strict=True)):
        used = np.flatnonzero(rows[row])
        assert trimmed.first[row] == used[0] and end - start == used[-1] - used[0] + 1
        assert np.array_equal(trimmed.counts[start:end], rows[row, used[0] : used[-1] + 1])


@pytest.mark.parametrize("number", [0, 3])
def test_histograms_without_any_score_are_trimmed_to_nothing(number):
    bins = Bins(2)
    trimmed = bins.trim(np.zeros((number, bins.count), dtype=np.int32))
    assert trimmed.first.tolist() == [0] * number and len(trimmed.counts) == 0
    assert np.array_equal(bins.dense(trimmed), np.zeros((number, bins.count)))


def test_rows_of_histograms_are_read_at_once_and_broadcast():
    bins = Bins(4)
    counts = np.stack([bins.histogram(_scores(name, 200)) for name in DISTRIBUTIONS])
    q = np.array([0.2, 0.7])
    table = bins.quantile(counts[:, None], q)
    fractions = bins.fraction_at_or_below(counts[:, None], np.array([0.1, 2.0]))
    for row in range(len(counts)):
        assert table[row].tolist() == [float(bins.quantile(counts[row], fraction)) for fraction in q]
        assert fractions[row].tolist() == [float(bins.fraction_at_or_below(counts[row], t)) for t in (0.1, 2.0)]
    diagonal = bins.quantile(counts[:2], q)
    assert diagonal.tolist() == [table[0, 0], table[1, 1]]


@pytest.mark.parametrize("q", [-0.01, 1.01, float("nan"), [0.5, 2]])
def test_a_fraction_outside_zero_to_one_is_refused(q):
    with pytest.raises(ValueError, match=r"q must be in \[0, 1\]"):
        Bins(4).quantile(Bins(4).histogram(np.ones(3, dtype=np.float32)), q)


@pytest.mark.parametrize("threshold", [-1e-9, float("nan")])
def test_a_negative_threshold_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold must not be negative"):
        Bins(4).fraction_at_or_below(Bins(4).histogram(np.ones(3, dtype=np.float32)), threshold)


def test_an_empty_histogram_has_no_quantile():
    with pytest.raises(ValueError, match="without scores"):
        Bins(4).quantile(np.zeros(Bins(4).count, dtype=int), 0.5)


def test_histograms_of_another_resolution_are_refused():
    with pytest.raises(ValueError, match="must have 1027 bins, got 2051"):
        Bins(4).quantile(np.ones(Bins(5).count, dtype=int), 0.5)


@pytest.mark.parametrize("score", [-1.0, float("nan"), float("inf")])
def test_a_score_that_is_no_score_is_refused(score):
    with pytest.raises(ValueError, match="finite and not negative"):
        Bins(4).index(np.array([1.0, score], dtype=np.float32))


@pytest.mark.parametrize("mantissa_bits", [-1, 9])
def test_a_resolution_out_of_range_is_refused(mantissa_bits):
    with pytest.raises(ValueError, match="0 to 8"):
        Bins(mantissa_bits)
