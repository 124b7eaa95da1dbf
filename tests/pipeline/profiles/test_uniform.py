"""`pipeline.profiles.uniform`: one row for every group, target and projection, all at the target."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.profiles.uniform import uniform_rows
from pipeline.storage.schemas import ALLOCATIONS


def test_every_projection_of_every_group_gets_the_target(tmp_path) -> None:
    keys = [(g, b, p) for g in range(2) for b in range(3) for p in ("q", "k")]
    histograms = pd.DataFrame(keys * 2, columns=["group", "block", "projection"])  # two criteria
    rows = uniform_rows(histograms, (0.25, 0.5), "mine")
    ALLOCATIONS.write(rows.assign(strength=np.nan), tmp_path / "allocations.parquet")
    assert len(rows) == len(keys) * 2
    assert (rows["sparsity"] == rows["target"]).all() and rows["predicted_error"].isna().all()


def test_masks_that_gate_a_fraction_of_the_weights_are_as_much_sparser() -> None:
    histograms = pd.DataFrame({"group": [0, 0], "block": [0, 1], "projection": ["down"] * 2})
    rows = uniform_rows(histograms, (0.25, 0.5), "mine", fraction=0.5)
    assert rows.groupby("target")["sparsity"].unique().map(list).to_dict() == {0.25: [0.5], 0.5: [1.0]}
