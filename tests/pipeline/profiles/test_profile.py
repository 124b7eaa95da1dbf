"""`pipeline.profiles.profile`: every threshold is a quantile of its own group's scores, and arrays keep positions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.histograms.aggregate import aggregate
from pipeline.profiles.profile import profile_array, profiles
from pipeline.profiles.uniform import uniform_rows
from pipeline.storage.schemas import PROFILES
from tests.pipeline.histograms.histogram_tables import (
    BINS,
    BLOCKS,
    PROJECTIONS,
    histogram_part,
    histogram_rows,
    sample_scores,
)
from wina_amp.errors import UserError

GROUPS = np.array([0, 1, 2, 0, 1, 2])
TARGETS = (0.25, 0.5)


@pytest.fixture(scope="module")
def histograms() -> pd.DataFrame:
    samples = [f"s{number}" for number in range(6)]
    return aggregate([histogram_part(histogram_rows(6))], samples, GROUPS, scheme="task", bins=BINS).to_pandas()


def built(histograms: pd.DataFrame, criterion: str = "wina") -> pd.DataFrame:
    return profiles(uniform_rows(histograms, TARGETS, "own"), histograms, criterion=criterion, bins=BINS)


def test_thresholds_are_quantiles_of_the_groups_own_scores(histograms, tmp_path) -> None:
    made = built(histograms)
    PROFILES.write(made, tmp_path / "profiles.parquet")
    assert len(made) == 3 * len(TARGETS) * BLOCKS * len(PROJECTIONS)
    for row in made.to_dict("records"):
        members = np.flatnonzero(row["group"] == GROUPS)
        own = 2 * np.concatenate([sample_scores(int(s), row["block"], row["projection"]) for s in members])
        exact = np.quantile(own, row["target"], method="inverted_cdf")
        assert row["threshold"] == pytest.approx(exact, rel=BINS.relative_error)
        assert row["sparsity"] == row["target"]


def test_the_array_holds_every_row_at_its_group_block_and_projection(histograms) -> None:
    made = built(histograms)
    made["sparsity"] += 0.01 * np.arange(len(made))
    for column, dtype in (("threshold", np.float32), ("sparsity", np.float64)):
        array = profile_array(made.sample(frac=1, random_state=0), 0.5, column)
        assert array.shape == (3, BLOCKS, len(PROJECTIONS)) and array.dtype == dtype
        for row in made[made["target"] == 0.5].to_dict("records"):
            assert array[row["group"], row["block"], PROJECTIONS.index(row["projection"])] == row[column]


def test_a_target_or_a_row_that_is_missing_is_named(histograms) -> None:
    made = built(histograms)
    with pytest.raises(UserError, match=r"target 0\.3 is not in it \(it has 0\.25, 0\.5\)"):
        profile_array(made, 0.3, "threshold")
    lost = made[~((made["group"] == 1) & (made["block"] == 0) & (made["projection"] == "k"))]
    with pytest.raises(UserError, match="no threshold for group 1, block 0, k"):
        profile_array(lost, 0.25, "threshold")
    with pytest.raises(UserError, match=r"have a sparsity for every .* no sparsity for group 1, block 0, k"):
        profile_array(lost, 0.25, "sparsity")


def test_an_allocation_without_a_histogram_is_refused(histograms) -> None:
    rows = uniform_rows(histograms, TARGETS, "own")
    rows.loc[3, "block"] = 9
    with pytest.raises(UserError, match=r"none for criterion teal, group \d, block 9, (q|k|down)"):
        profiles(rows, histograms, criterion="teal", bins=BINS)


def test_pooled_histograms_serve_every_group(histograms) -> None:
    pooled = aggregate(
        [histogram_part(histogram_rows(6))], [f"s{n}" for n in range(6)], np.zeros(6, int), scheme="global", bins=BINS
    ).to_pandas()
    made = profiles(uniform_rows(histograms, TARGETS, "own"), pooled, criterion="wina", bins=BINS, is_pooled=True)
    alone = profiles(uniform_rows(pooled, TARGETS, "own"), pooled, criterion="wina", bins=BINS)
    for target in TARGETS:
        array = profile_array(made, target, "threshold")
        assert len(array) == 3
        np.testing.assert_array_equal(array, np.repeat(profile_array(alone, target, "threshold"), 3, axis=0))
