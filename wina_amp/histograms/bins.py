"""Log-linear histograms of non-negative float32 scores, the idea of HDR histograms and DDSketch.

A bin is a float's exponent with its top `mantissa_bits` mantissa bits: its index is the bit pattern shifted right, so
there is no logarithm, no calibration pass and no data-dependent edge. All histograms of one resolution share their
edges, hence merging is addition. Each octave [2^e, 2^(e+1)) has 2^mantissa_bits bins of equal width.

    index 0                 zero
    index 1                 underflow: 0 < score < 2^-40
    indices 2 .. count-2    the bins, ascending
    index count-1           overflow: score >= 2^24

Guarantee: where rank q falls into an ordinary bin, `quantile` differs from the exact quantile by at most the relative
error 2^-mantissa_bits, whatever the distribution and however many histograms were merged; in the underflow bin the
absolute error is below 2^-40; at zero it is exact. In the overflow bin only "at least 2^24" is known.

NumPy only: stages that need no model use it. Counting tensors is in `wina_amp/capture/accumulate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int, Int16
from numpy import ndarray

LOWEST_EXPONENT = -40
HIGHEST_EXPONENT = 24
ZERO_BIN = 0
UNDERFLOW_BIN = 1
FIRST_BIN = 2
MOST_MANTISSA_BITS = 8  # more would not fit the tables' int16 indices

_FLOAT32_BIAS = 127
_FLOAT32_MANTISSA = 23


@dataclass(frozen=True)
class TrimmedRows:
    """Histograms without the empty bins at both ends: row i counts the bins `first[i]`, `first[i] + 1` ... with
    `counts[offsets[i]:offsets[i + 1]]`. A histogram without scores has no counts, and `first` 0."""

    first: Int16[ndarray, " rows"]
    offsets: Int[ndarray, " rows+1"]
    counts: Int[ndarray, " entries"]


@dataclass(frozen=True)
class Bins:
    """The bins of one resolution.

    Attributes:
        mantissa_bits: bins per octave = 2^mantissa_bits; from 0 to 8.

    Raises:
        ValueError: `mantissa_bits` out of range.
    """

    mantissa_bits: int

    def __post_init__(self) -> None:
        if not 0 <= self.mantissa_bits <= MOST_MANTISSA_BITS:
            raise ValueError(f"mantissa_bits must be 0 to {MOST_MANTISSA_BITS}, got {self.mantissa_bits}")

    @property
    def shift(self) -> int:
        """Bits of a float32 dropped to get its bin."""
        return _FLOAT32_MANTISSA - self.mantissa_bits

    @property
    def base(self) -> int:
        """The shifted bit pattern of 2^LOWEST_EXPONENT, which has index `FIRST_BIN`."""
        return (_FLOAT32_BIAS + LOWEST_EXPONENT) << self.mantissa_bits

    @property
    def count(self) -> int:
        """Number of bins, the three special ones included."""
        return ((HIGHEST_EXPONENT - LOWEST_EXPONENT) << self.mantissa_bits) + FIRST_BIN + 1

    @property
    def relative_error(self) -> float:
        """Bound on |quantile - exact| / exact: the width of an octave's first bin over its lower edge."""
        return 2.0**-self.mantissa_bits

    @cached_property
    def edges(self) -> Float[ndarray, " count+1"]:
        """Lower edges of all bins and the upper edge of the last (infinity); every finite one is exact in float32."""
        patterns = (np.arange(self.count - FIRST_BIN) + self.base).astype(np.uint32) << np.uint32(self.shift)
        return np.concatenate([[0.0, 0.0], patterns.view(np.float32).astype(np.float64), [np.inf]])

    def index(self, scores: Float32[ndarray, "*shape"]) -> Int16[ndarray, "*shape"]:
        """The bin of every score.

        Raises:
            ValueError: a score is negative, NaN or infinite.
        """
        values = np.ascontiguousarray(scores, dtype=np.float32)
        if not np.all(np.isfinite(values) & (values >= 0)):
            raise ValueError("scores must be finite and not negative")
        patterns = (values + np.float32(0)).view(np.uint32)  # + 0 turns -0.0 into 0.0
        ordinary = (patterns >> np.uint32(self.shift)).astype(np.int32) - (self.base - FIRST_BIN)
        clamped = np.clip(ordinary, UNDERFLOW_BIN, self.count - 1)
        return np.where(patterns == 0, ZERO_BIN, clamped).astype(np.int16)

    def histogram(self, scores: Float32[ndarray, "*shape"]) -> Int[ndarray, " count"]:
        """Counts of all scores, int64; histograms of parts add up to the histogram of the whole."""
        return np.bincount(self.index(scores).ravel(), minlength=self.count)

    def quantile(self, counts: Int[ndarray, "*rows count"], q: object) -> Float[ndarray, "*rows"]:
        """The score t such that a fraction q of the scores is at most t, interpolated linearly inside its bin.

        The exact quantile meant is the smallest t >= 0 with #{score <= t} >= q n (so it is 0 at q = 0: nothing needs to
        be masked). See the module's docstring for the error bound; monotone in q.

        Args:
            counts: histograms along the last axis, none of them empty.
            q: fractions in [0, 1]; broadcast against `counts.shape[:-1]`.

        Raises:
            ValueError: q outside [0, 1] or NaN; a histogram without scores; a last axis that is not `count` long.
        """
        fractions = np.asarray(q, dtype=np.float64)
        if not np.all((fractions >= 0) & (fractions <= 1)):
            raise ValueError(f"q must be in [0, 1], got {q}")
        cumulative = self._cumulative(counts)
        rank = fractions * cumulative[..., -1]
        bin_ = (cumulative[..., :-1] < rank[..., None]).sum(axis=-1)
        low, high = self.edges[bin_], self.edges[bin_ + 1]
        before = _pick(np.concatenate([np.zeros_like(cumulative[..., :1]), cumulative], axis=-1), bin_)
        inside = np.maximum(_pick(cumulative, bin_) - before, 1)
        fraction = np.clip((rank - before) / inside, 0.0, 1.0)
        return np.where(np.isinf(high), low, low + fraction * np.where(np.isinf(high), 0.0, high - low))

    def fraction_at_or_below(self, counts: Int[ndarray, "*rows count"], threshold: object) -> Float[ndarray, "*rows"]:
        """The fraction of scores that are at most `threshold`, interpolated linearly inside its bin.

        Exact at the edges of bins and, above zero, the inverse of `quantile`. Scores in the overflow bin count as above
        every finite threshold.

        Args:
            counts: histograms along the last axis, none of them empty.
            threshold: not negative; broadcast against `counts.shape[:-1]`.

        Raises:
            ValueError: a negative or NaN threshold; a histogram without scores; a last axis that is not `count` long.
        """
        values = np.asarray(threshold, dtype=np.float64)
        if not np.all(values >= 0):
            raise ValueError(f"threshold must not be negative, got {threshold}")
        cumulative = self._cumulative(counts)
        values = np.broadcast_to(values, np.broadcast_shapes(values.shape, cumulative.shape[:-1]))
        bin_ = np.clip(np.searchsorted(self.edges, values, side="right") - 1, UNDERFLOW_BIN, self.count - 1)
        low, high = self.edges[bin_], self.edges[bin_ + 1]
        width = np.where(np.isinf(high), 1.0, high - low)
        fraction = np.where(np.isinf(high), np.isinf(values), (values - low) / width)
        before = _pick(cumulative, bin_ - 1)
        return (before + fraction * (_pick(cumulative, bin_) - before)) / cumulative[..., -1]

    def trim(self, counts: Int[ndarray, "rows count"]) -> TrimmedRows:
        """Drop the empty bins at both ends of every histogram; `dense` is the inverse."""
        used = np.flatnonzero(counts.any(axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 0)
        filled = counts[:, low:high] != 0
        has_scores = filled.any(axis=1) if high else np.zeros(len(counts), dtype=bool)
        first = np.where(has_scores, filled.argmax(axis=1), 0) if high else np.zeros(len(counts), dtype=np.int64)
        end = np.where(has_scores, high - low - filled[:, ::-1].argmax(axis=1), first) if high else first
        bin_ = np.arange(high - low)
        kept = (bin_ >= first[:, None]) & (bin_ < end[:, None])
        offsets = np.concatenate([[0], np.cumsum(end - first)])
        return TrimmedRows(np.where(has_scores, first + low, 0).astype(np.int16), offsets, counts[:, low:high][kept])

    def dense(self, rows: TrimmedRows) -> Int[ndarray, "rows count"]:
        """The histograms of trimmed rows, int64."""
        return self.merge(rows, np.arange(len(rows.first)), len(rows.first))

    def merge(self, rows: TrimmedRows, into: Int[ndarray, " rows"], number: int) -> Int[ndarray, "number count"]:
        """Add up trimmed rows: row i goes to histogram `into[i]` of `number`. int64, exact up to 2^53 scores."""
        begins = np.asarray(into, dtype=np.int64) * self.count + rows.first - rows.offsets[:-1]
        cell = np.repeat(begins, np.diff(rows.offsets)) + np.arange(len(rows.counts))
        total = np.bincount(cell, weights=rows.counts, minlength=number * self.count)
        return total.astype(np.int64).reshape(number, self.count)

    def _cumulative(self, counts: Int[ndarray, "*rows count"]) -> Float[ndarray, "*rows count"]:
        if counts.shape[-1] != self.count:
            raise ValueError(f"the last axis must have {self.count} bins, got {counts.shape[-1]}")
        cumulative = np.cumsum(counts, axis=-1, dtype=np.float64)
        if not np.all(cumulative[..., -1] > 0):
            raise ValueError("a histogram without scores has no quantiles")
        return cumulative


def _pick(values: Float[ndarray, "*rows n"], position: Int[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """values[..., position], with the rows of `values` broadcast to the shape of `position`."""
    rows = np.broadcast_to(values, (*position.shape, values.shape[-1]))
    return np.take_along_axis(rows, position[..., None], axis=-1)[..., 0]
