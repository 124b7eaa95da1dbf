"""Group histograms: the sum of the score histograms of a group's train samples. No second pass of the model.

Projections that share a row of `histograms`, because their scores are the same, get a row each here.

Parts are read one at a time and added to one dense array, so memory depends on groups x projections x bins and not on
the number of samples. A sum of counts is the histogram of all the group's scores together: a sample weighs as much as
it has tokens. Rows of long samples are stored in larger units (`pipeline/histograms/count_units.py`); their sum keeps
the same bound on the fraction of scores at any edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute
from jaxtyping import Int
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins, TrimmedRows

pc: Any = pyarrow.compute  # its functions are made at import time, so type checkers see none of them

_SCORING = ["block", "projections", "criterion"]


def aggregate(
    parts: Iterable[pa.Table],
    sample_ids: Sequence[str],
    groups: Int[ndarray, " samples"],
    *,
    scheme: str,
    bins: Bins,
) -> pa.Table:
    """Merge the rows of `histograms` by group.

    Args:
        parts: parts of the table `histograms` in any order.
        sample_ids: the train samples.
        groups: the group of each of them, from 0.
        scheme: name of the scheme, for the column of that name.
        bins: the bins the histograms were counted in.

    Returns: rows of the table `group_histograms`.

    Guarantee: counts are the sums of the rows' counts, and the result does not depend on the order of parts, rows or
    samples.

    Raises:
        UserError: histograms and assignments do not cover the same samples.
    """
    number = int(groups.max()) + 1
    totals = np.zeros((0, number, bins.count), dtype=np.int64)
    rows_seen = np.zeros((0, number), dtype=np.int64)
    slots: dict[tuple[int, str, str], int] = {}
    lookup = pa.array(sample_ids, pa.string())
    for part in parts:
        scoring = _scoring_slots(part, slots)
        group = groups[_positions(part, lookup)]
        missing = len(slots) - len(totals)
        totals = np.concatenate([totals, np.zeros((missing, *totals.shape[1:]), dtype=np.int64)])
        rows_seen = np.concatenate([rows_seen, np.zeros((missing, number), dtype=np.int64)])
        cell = scoring * number + group
        totals += bins.merge(_trimmed_rows(part), cell, len(slots) * number).reshape(totals.shape)
        rows_seen += np.bincount(cell, minlength=len(slots) * number).reshape(rows_seen.shape)
    sizes = np.bincount(groups, minlength=number)
    _check_complete(rows_seen, sizes)
    return _group_rows(slots, totals, sizes, scheme, bins)


def dense_counts(rows: pd.DataFrame, bins: Bins) -> Int[ndarray, "rows count"]:
    """The histograms of a frame with the columns `first_bin` and `counts` (either histogram table), one per row."""
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows["counts"]], dtype=np.int64)])
    counts = np.concatenate([*rows["counts"], np.zeros(0, dtype=np.int64)])
    return bins.dense(TrimmedRows(rows["first_bin"].to_numpy(), offsets, counts))


def _scoring_slots(part: pa.Table, slots: dict[tuple[int, str, str], int]) -> Int[ndarray, " rows"]:
    """The slot of every row's (block, projections, criterion); new ones are added to `slots`."""
    codes, keys = pd.MultiIndex.from_frame(part.select(_SCORING).to_pandas()).factorize()
    numbers = [slots.setdefault((int(key[0]), str(key[1]), str(key[2])), len(slots)) for key in keys]
    return np.asarray(numbers, dtype=np.int64)[codes]


def _positions(part: pa.Table, lookup: pa.Array) -> Int[ndarray, " rows"]:
    positions = pc.index_in(part["sample_id"], value_set=lookup)
    if positions.null_count:
        unknown = part.filter(pc.is_null(positions))["sample_id"].unique().to_pylist()
        raise _mismatch(f"{len(unknown)} samples with histograms but no group, for example {unknown[0]}")
    return positions.to_numpy().astype(np.int64)


def _trimmed_rows(part: pa.Table) -> TrimmedRows:
    lengths = pc.list_value_length(part["counts"]).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return TrimmedRows(part["first_bin"].to_numpy(), offsets, pc.list_flatten(part["counts"]).to_numpy())


def _check_complete(rows_seen: Int[ndarray, "scorings groups"], sizes: Int[ndarray, " groups"]) -> None:
    if rows_seen.size == 0:
        raise _mismatch("no histograms at all")
    if not sizes.all():
        raise _mismatch(f"group {int(np.flatnonzero(sizes == 0)[0])} has no train samples")
    wrong = np.argwhere(rows_seen != sizes)
    if len(wrong):
        scoring, group = wrong[0]
        have, want = int(rows_seen[scoring, group]), int(sizes[group])
        raise _mismatch(f"{have} histograms of one projection for the {want} samples of group {group}")


def _group_rows(
    slots: dict[tuple[int, str, str], int],
    totals: Int[ndarray, "scorings groups count"],
    sizes: Int[ndarray, " groups"],
    scheme: str,
    bins: Bins,
) -> pa.Table:
    number = len(sizes)
    rows = [(slot, *scoring, name) for scoring, slot in slots.items() for name in scoring[1].split(" ")]
    slot, block, _, criterion, projection = zip(*rows, strict=True)
    trimmed = bins.trim(totals[list(slot)].reshape(-1, bins.count))
    offsets = pa.array(trimmed.offsets, pa.int32())
    return pa.table(
        {
            "scheme": pa.array([scheme] * len(rows) * number, pa.string()),
            "group": pa.array(np.tile(np.arange(number), len(rows)), pa.int32()),
            "block": pa.array(np.repeat(block, number), pa.int16()),
            "projection": pa.array([name for name in projection for _ in range(number)], pa.string()),
            "criterion": pa.array([name for name in criterion for _ in range(number)], pa.string()),
            "n_samples": pa.array(np.tile(sizes, len(rows)), pa.int32()),
            "first_bin": pa.array(trimmed.first, pa.int16()),
            "counts": pa.ListArray.from_arrays(offsets, pa.array(trimmed.counts, pa.int64())),
        }
    )


def _mismatch(found: str) -> UserError:
    return UserError(
        "Histograms and assignments must cover the same train samples, each with every projection",
        found=found,
        where="tables `histograms` and `assignments`",
        remedy="run `dvc repro`, which rebuilds whichever is out of date",
    )
