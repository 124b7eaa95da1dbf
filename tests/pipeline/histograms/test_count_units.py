"""`pipeline.histograms.count_units`: the stated bound at every edge, parity with the transcription, nothing changed
below 2^17."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.histograms import count_units
from pipeline.histograms.count_units import UNITS_BITS, in_units, units
from pipeline.storage.schemas import HISTOGRAMS
from tests.pipeline.histograms.histogram_tables import histogram_table
from tests.reference import capture as reference
from wina_amp.histograms.bins import Bins, TrimmedRows

BINS = Bins(4)
LARGEST_SHARE = 2.0**-UNITS_BITS
SIZES = [1, 1000, 2**17 - 1, 2**17, 2**17 + 1, 3_000_000, 2**31 - 1]


def _normal_fractions(scale):
    """The fraction of |N(0, scale)| in every bin."""
    below = np.array([math.erf(edge / scale / math.sqrt(2)) for edge in BINS.edges])
    return np.diff(below)


def _histograms(sizes, seed=0):
    """Histograms of so many scores, their scales over many octaves."""
    generator = np.random.default_rng(seed)
    rows = [generator.multinomial(n, _normal_fractions(2.0 ** generator.integers(-30, 20))) for n in sizes]
    return np.stack(rows).astype(np.int32)


def _in_units(counts):
    rows = in_units(BINS.trim(counts), counts.sum(axis=1, dtype=np.int64))
    return rows, BINS.dense(rows)


def test_the_fraction_below_every_edge_is_at_most_the_bound_too_low_and_never_too_high() -> None:
    counts = _histograms(SIZES)
    _, rounded = _in_units(counts)
    missing = (np.cumsum(counts, axis=1, dtype=np.int64) - np.cumsum(rounded, axis=1)) / counts.sum(axis=1)[:, None]
    assert missing.min() == 0 and missing.max() < LARGEST_SHARE
    assert np.array_equal(rounded.sum(axis=1), SIZES) and rounded.min() == 0


def test_the_bound_holds_for_the_sum_of_many_samples_and_so_for_its_thresholds() -> None:
    counts = _histograms([4_000_000, 1_300_000, 700_000, 50_000, 9_000_000])
    exact, rounded = counts.sum(axis=0), _in_units(counts)[1].sum(axis=0)
    assert not np.array_equal(exact, rounded)
    for sparsity in (0.01, 0.25, 0.5, 0.65, 0.8, 0.99, 1.0):
        masked = BINS.fraction_at_or_below(exact, BINS.quantile(rounded, sparsity))
        assert abs(masked - sparsity) <= LARGEST_SHARE


@given(st.lists(st.integers(0, 200_000), min_size=1, max_size=12), st.integers(0, 900))
def test_one_histogram_equals_the_slow_transcription(counts, first):
    dense = np.zeros((1, BINS.count), np.int32)
    dense[0, first : first + len(counts)] = counts
    assert _in_units(dense)[1][0].tolist() == reference.in_units(dense[0])


def test_rows_are_trimmed_and_keep_their_highest_bin() -> None:
    counts = np.concatenate([_histograms(SIZES), np.zeros((1, BINS.count), np.int32)])
    counts[3, BINS.count - 1] = 1  # a single score far above 2^17 others
    rows, rounded = _in_units(counts)
    again = BINS.trim(rounded)
    assert np.array_equal(rows.offsets, again.offsets) and np.array_equal(rows.first, again.first)
    assert np.array_equal(rows.counts, again.counts) and rounded[3, -1] > 0 and not rounded[-1].any()
    assert rows.counts.dtype == np.int32 and rows.first.dtype == np.int16
    highest = [np.flatnonzero(row)[-1] for row in counts[:-1]]
    assert highest == [np.flatnonzero(row)[-1] for row in rounded[:-1]]


def test_fewer_than_131072_scores_are_handed_on_untouched() -> None:
    counts = _histograms([1, 500, 2**17 - 1])
    rows = BINS.trim(counts)
    assert in_units(rows, counts.sum(axis=1)) is rows
    beside_a_long_one = _in_units(np.concatenate([counts, _histograms([5_000_000])]))[1]
    assert np.array_equal(beside_a_long_one[:3], counts)


def test_units_are_powers_of_two_that_leave_65536_to_131072() -> None:
    scores = np.array([0, 1, 2**17 - 1, 2**17, 2**18 - 1, 2**18, 2**40 + 1])
    assert units(scores).tolist() == [1, 1, 1, 2, 2, 4, 2**24]
    left = scores[3:] / units(scores)[3:]
    assert (left >= 2**UNITS_BITS).all() and (left < 2 ** (UNITS_BITS + 1)).all()


def test_a_wrong_number_of_scores_is_refused() -> None:
    counts = _histograms([200_000, 300_000])
    with pytest.raises(ValueError, match="histogram 1 must count 300001 scores, its bins hold 300000"):
        in_units(BINS.trim(counts), np.array([200_000, 300_001]))


def test_stored_bytes_hardly_grow_with_the_number_of_scores(tmp_path, monkeypatch) -> None:
    def size(scores):
        counts = _histograms([scores] * 300)
        HISTOGRAMS.write(histogram_table(_in_units(counts)[0]), tmp_path / "h.parquet")
        return (tmp_path / "h.parquet").stat().st_size

    few, many = size(2**17 - 1), size(2**24)
    assert many < 1.1 * few
    monkeypatch.setattr(count_units, "UNITS_BITS", 30)
    assert size(2**24) > 1.4 * many


def test_the_same_rows_come_out_of_every_run() -> None:
    rows: list[TrimmedRows] = [_in_units(_histograms(SIZES))[0] for _ in range(2)]
    assert rows[0].counts.tobytes() == rows[1].counts.tobytes()
