"""Store the histograms of long samples in larger units: their bytes stop growing with the number of tokens.

The count of a bin is a sum of nearly independent events, so that half of its digits are noise; at Llama-3-8B's shapes a
sample has millions of scores in every histogram, and these digits are what it takes on the disk (docs/performance.md).
Here cumulative counts are rounded down to multiples of a unit,

    unit = the largest power of two that is at most n / 2^16        C'_i = unit * floor(C_i / unit)  below the last bin

where n is the number of scores of the histogram, C_i how many of them are in bin i or below, and the last bin that is
not empty is left at C'_i = n. Rounding the cumulative counts and not the counts keeps errors from adding up.

Guarantee: counts still add up to n, the highest bin that has scores keeps at least one, and at every edge of a bin the
fraction of the scores below it is at most 2^-16 (0.0015 percentage points) too low, never too high; this holds for sums
of such histograms as well. A histogram of fewer than 2^17 scores is not changed at all.

What it does not do: change the edges of bins (`wina_amp/histograms/bins.py`). Below the lowest 2^-16 of the scores
nothing is known any more. A power of two, because readers then need not know the unit: counts stay counts, their low
bits are zero, and a compressor sees that.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from wina_amp.histograms.bins import TrimmedRows

UNITS_BITS = 16
"""The fraction of a histogram's scores that may be misplaced at any edge is below 2^-UNITS_BITS."""


def units(scores: Int[ndarray, " rows"]) -> Int[ndarray, " rows"]:
    """The unit of histograms of so many scores: 1 below 2^17, and from there on a power of two that leaves 2^16 to 2^17
    units. int64."""
    _, exponent = np.frexp(np.asarray(scores, dtype=np.float64))  # 2^(exponent - 1) <= scores < 2^exponent
    return np.int64(1) << np.maximum(exponent.astype(np.int64) - 1 - UNITS_BITS, 0)


def in_units(rows: TrimmedRows, scores: Int[ndarray, " rows"]) -> TrimmedRows:
    """Histograms with cumulative counts in `units(scores)`, trimmed again.

    Args:
        rows: exact histograms.
        scores: number of scores that each of them counts, known from counting.

    Returns: `rows` itself where every unit is 1.

    Raises:
        ValueError: a histogram does not count `scores` scores.
    """
    unit = units(scores)
    if not (unit > 1).any():
        return rows
    lengths = np.diff(rows.offsets)
    cumulative = np.concatenate([[0], np.cumsum(rows.counts, dtype=np.int64)])
    before = cumulative[rows.offsets[:-1]]
    totals = cumulative[rows.offsets[1:]] - before
    if not np.array_equal(totals, scores):
        row = int(np.flatnonzero(totals != scores)[0])
        raise ValueError(f"histogram {row} must count {int(scores[row])} scores, its bins hold {int(totals[row])}")
    row_of = np.repeat(np.arange(len(lengths)), lengths)
    below = cumulative[1:] - before[row_of]
    rounded = np.where(below == totals[row_of], below, below - below % unit[row_of])
    starts = rows.offsets[:-1][lengths > 0]
    counts = np.diff(rounded, prepend=0)
    counts[starts] = rounded[starts]
    kept = rounded > 0
    removed = np.bincount(row_of[~kept], minlength=len(lengths))
    offsets = np.concatenate([[0], np.cumsum(lengths - removed)])
    first = rows.first + removed
    return TrimmedRows(first.astype(rows.first.dtype), offsets, counts[kept].astype(rows.counts.dtype))
