"""Profiles: allocations as the arrays that calibration and masks need, and thresholds as the rows of a table.

`profiles` takes thresholds from histograms of the DENSE model: one quantile per (group, target, block, projection); the
allocation says which, the group's histograms say where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Float32, Int
from numpy import ndarray

from pipeline.histograms.aggregate import dense_counts
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.models.families import PROJECTION_ORDER
from wina_amp.names import THRESHOLD

_KEY = ["group", "block", "projection"]


@dataclass(frozen=True)
class Profiles:
    """The masks of a model: a criterion, a kind of mask, and its values for every group, block and mask site (float32
    thresholds, or of kinds that keep a number of features float64 sparsities; see `wina_amp.masks.install.install`)."""

    criterion: str
    values: Float[ndarray, "groups blocks masks"]
    mask: str = THRESHOLD


def profiles(
    allocations: pd.DataFrame, histograms: pd.DataFrame, *, criterion: str, bins: Bins, is_pooled: bool = False
) -> pd.DataFrame:
    """Rows of the table `profiles`, one for each row of `allocations`.

    Args:
        allocations: rows of the table `allocations` of one profile set.
        histograms: rows of the table `group_histograms` of its scheme; other criteria are ignored.
        criterion: how the profile set scores features.
        bins: the bins the histograms were counted in.
        is_pooled: the histograms are those of the one group `global`, and serve all groups of the allocations.

    Raises:
        UserError: a group's projection has an allocation but no histogram.
    """
    known: Any = histograms[histograms["criterion"] == criterion].reset_index(drop=True)
    allocated: Any = allocations.reset_index(drop=True)
    key = ["block", "projection"] if is_pooled else _KEY
    row = pd.MultiIndex.from_frame(known[key]).get_indexer(pd.MultiIndex.from_frame(allocated[key]))
    if (row < 0).any():
        lost = allocated[row < 0].iloc[0]
        raise UserError(
            "Every allocated projection needs a histogram",
            found=f"none for criterion {criterion}, group {lost['group']}, block {lost['block']}, {lost['projection']}",
            where="table `group_histograms`",
            remedy="run `dvc repro`, which rebuilds whichever table is out of date",
        )
    return _rows(allocated, _thresholds(known, row, allocated["sparsity"].to_numpy(), bins))


def with_thresholds(
    allocations: pd.DataFrame, limits: Mapping[float, Float32[ndarray, "groups blocks projections"]]
) -> pd.DataFrame:
    """Rows of the table `profiles`, one for each row of a profile set's `allocations`.

    `limits` are the thresholds at every target, placed as `profile_array` places sparsities.
    """
    position = {name: number for number, name in enumerate(_names(allocations))}
    keys = zip(*(allocations[name].tolist() for name in ("target", *_KEY)), strict=True)
    threshold = [limits[target][group, block, position[name]] for target, group, block, name in keys]
    return _rows(allocations, np.array(threshold, dtype=np.float32))


def profile_array(
    profile_rows: pd.DataFrame, target: float, column: str
) -> Float[ndarray, "groups blocks projections"]:
    """Thresholds or sparsities of the profiles at one target, by group, block and projection in canonical order.

    Args:
        profile_rows: rows of the table `profiles` (for sparsities also `allocations`) of one profile set.
        target: one of the targets in it.
        column: `threshold` or `sparsity`; the array has the column's dtype.

    Raises:
        UserError: the target is not in the table, or a group's projection is missing.
    """
    rows: Any = profile_rows[profile_rows["target"] == target]
    if rows.empty:
        known = ", ".join(f"{number:g}" for number in np.unique(profile_rows["target"]))
        raise _incomplete(column, f"target {target:g} is not in it (it has {known or 'no rows'})")
    names = _names(rows)
    values = rows[column].to_numpy()
    shape = (int(rows["group"].max()) + 1, int(rows["block"].max()) + 1, len(names))
    array = np.full(shape, np.nan, dtype=values.dtype)
    position = rows["projection"].map({name: number for number, name in enumerate(names)}).to_numpy()
    array[rows["group"].to_numpy(), rows["block"].to_numpy(), position] = values
    if np.isnan(array).any():
        group, block, projection = np.argwhere(np.isnan(array))[0]
        raise _incomplete(column, f"no {column} for group {group}, block {block}, {names[projection]}")
    return array


def _names(rows: Any) -> list[str]:
    return sorted(rows["projection"].unique(), key=PROJECTION_ORDER.index)


def _rows(allocations: Any, threshold: Float32[ndarray, " rows"]) -> pd.DataFrame:
    return allocations[["profile", "target", *_KEY, "sparsity"]].assign(threshold=threshold)


def _thresholds(
    histograms: Any, row: Int[ndarray, " rows"], sparsity: Float[ndarray, " rows"], bins: Bins
) -> Float32[ndarray, " rows"]:
    """The thresholds of all rows, group by group: dense histograms of all groups of a large model are large."""
    group = histograms["group"].to_numpy()[row]
    limits = np.empty(len(row), dtype=np.float32)
    for number in np.unique(group):
        here = group == number
        needed, inverse = np.unique(row[here], return_inverse=True)
        counts = dense_counts(histograms.iloc[needed], bins)
        limits[here] = thresholds(bins, counts[inverse], sparsity[here])
    return limits


def _incomplete(column: str, found: str) -> UserError:
    return UserError(
        f"A profile set must have a {column} for every group, block and projection at every target",
        found=found,
        where="table `profiles`",
        remedy="run `dvc repro`, which rebuilds it",
    )
