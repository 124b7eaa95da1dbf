"""`pipeline.histograms.aggregate`: merging is addition, exact, whatever the order of parts and rows."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.histograms.aggregate import aggregate, dense_counts
from pipeline.histograms.count_units import in_units
from pipeline.storage.schemas import GROUP_HISTOGRAMS
from tests.pipeline.histograms.histogram_tables import (
    BINS,
    histogram_part,
    histogram_rows,
    histogram_table,
    sample_scores,
)
from tests.reference.aggregate import merged
from tests.reference.capture import in_units as reference_units
from wina_amp.errors import UserError

SAMPLES = [f"s{number}" for number in range(9)]
GROUPS = np.array([0, 1, 2, 0, 1, 2, 0, 0, 1])


def merge(rows, parts=3, samples=SAMPLES, groups=GROUPS):
    tables = [histogram_part(rows.iloc[numbers]) for numbers in np.array_split(np.arange(len(rows)), parts)]
    return aggregate(tables, samples, groups, scheme="task", bins=BINS).to_pandas()


def test_groups_equal_the_slow_transcription() -> None:
    rows = histogram_rows(9)
    expected = merged(rows, dict(zip(SAMPLES, GROUPS.tolist(), strict=True)))
    groups = merge(rows).to_dict("records")
    assert len(groups) == len(expected)
    for row in groups:
        want = expected[row["group"], row["block"], row["projection"], row["criterion"]]
        counted = enumerate(row["counts"].tolist(), start=row["first_bin"])
        assert {index: count for index, count in counted if count} == {i: c for i, c in want.items() if c}
        assert row["n_samples"] == np.count_nonzero(row["group"] == GROUPS) and row["scheme"] == "task"


def test_rows_fit_the_table_and_do_not_depend_on_the_order_of_rows_or_samples(tmp_path) -> None:
    rows = histogram_rows(9)
    GROUP_HISTOGRAMS.write(merge(rows), tmp_path / "a.parquet")
    shuffled = rows.sample(frac=1, random_state=0)
    GROUP_HISTOGRAMS.write(merge(shuffled, 5, SAMPLES[::-1], GROUPS[::-1]), tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_projections_that_fraction_a_row_get_a_row_each_of_the_same_counts() -> None:
    rows = histogram_rows(9)
    shared = rows[rows["projections"] == "q"].assign(projections="q k v")
    merged = merge(shared).set_index(["projection", "group", "block", "criterion"])
    assert set(merged.index.get_level_values(0)) == {"q", "k", "v"}
    expected = merge(rows[rows["projections"] == "q"]).set_index(["group", "block", "criterion"])
    for name in ("q", "k", "v"):
        for key, row in merged.loc[name].iterrows():
            same = expected.loc[key]
            assert (row["first_bin"], row["n_samples"]) == (same["first_bin"], same["n_samples"])
            assert np.array_equal(row["counts"], same["counts"])


def test_one_group_is_the_histogram_of_all_scores_pooled() -> None:
    merged = merge(histogram_rows(9), groups=np.zeros(9, dtype=int))
    pooled = BINS.histogram(np.concatenate([sample_scores(number, 1, "k") for number in range(9)]))
    row = merged[(merged["block"] == 1) & (merged["projection"] == "k") & (merged["criterion"] == "teal")]
    assert np.array_equal(dense_counts(row, BINS)[0], pooled)


def test_histograms_in_units_merge_to_the_sum_of_their_counts() -> None:
    rng = np.random.default_rng(0)
    exact = np.stack([BINS.histogram(rng.lognormal(number, 2, 300_000).astype(np.float32)) for number in range(3)])
    stored = in_units(BINS.trim(exact), exact.sum(axis=1))
    merged = aggregate(
        [histogram_table(stored)], ["s00000", "s00001", "s00002"], np.array([0, 1, 0]), scheme="task", bins=BINS
    ).to_pandas()
    dense = np.array([reference_units(row) for row in exact])
    assert np.array_equal(dense_counts(merged, BINS), [dense[0] + dense[2], dense[1]])


def test_samples_without_a_group_and_groups_without_histograms_are_refused() -> None:
    rows = histogram_rows(9)
    with pytest.raises(UserError, match="1 samples with histograms but no group, for example s8"):
        merge(rows, samples=SAMPLES[:8], groups=GROUPS[:8])
    with pytest.raises(UserError, match="3 histograms of one projection for the 4 samples of group 0"):
        merge(rows[rows["sample_id"] != "s7"])
    with pytest.raises(UserError, match="group 1 has no train samples"):
        merge(rows, groups=GROUPS * 2)
