"""Intervals of a paired difference over items, units and refits: what another draw of each of them would change.

A difference is measured for k refits (everything fitted anew, on other calibration samples, with other seeds) on the
same items. Items belong to units, which may succeed and fail together: tasks, or computations where several tasks ask
for one. With d(r, i) the difference of item i under refit r, m the mean over both, N items in C units of n_c items:

    over items     V = sum over c of (n_c / N)^2 s_c^2 / n_c       s_c^2: variance of the items of unit c
    over units     V = C / (C - 1) sum over c of (n_c / N)^2 (m_c - m)^2
    over refits    V = s_r^2 / k                                    s_r^2: variance of the k means over items

Items and units are taken of the mean over refits. The interval over units holds that over items: units are drawn, and
their items with them. `all` adds the variances over units and over refits, each with its own t, because three refits
know their variance badly and ten units better:

    m +- sqrt(t(C - 1)^2 V_units + t(k - 1)^2 V_refits)

(t is 4.3 for three refits.) One t for the sum, with the degrees of freedom of Satterthwaite, covered 92% instead of 95%
where refits differ as much as the rest: by chance three are often alike. What a refit does to single units and items
is in both variances, so `all` errs towards "undecided". tests/pipeline/statistics/test_refits.py measures coverage.

One fit says nothing of other fits: fewer than two are refused. Random groups fitted like real ones are a control, not a
substitute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import stdtrit

from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class UnitIntervals:
    """Intervals of a difference of one fit: over the items of these units, and over units with their items."""

    items: Interval
    units: Interval


@dataclass(frozen=True)
class RefitIntervals:
    """Intervals of one difference: over each of the three, the others as they are, and over units and refits."""

    items: Interval
    units: Interval
    refits: Interval
    all: Interval


def unit_intervals(
    differences: Float[np.ndarray, " items"], units: Shaped[np.ndarray, " items"], confidence: float
) -> UnitIntervals:
    """Intervals of the mean difference of one fit; they say nothing of others.

    Raises:
        ValueError: fewer than two units, or a difference that is not finite.
    """
    mean, over_items, over_units, of_units = _variances(differences, units)
    return UnitIntervals(
        items=_interval(mean, [(over_items, max(len(differences) - of_units - 1, 1))], confidence),
        units=_interval(mean, [(over_units, of_units)], confidence),
    )


def refit_intervals(
    differences: Float[np.ndarray, "refits items"], units: Shaped[np.ndarray, " items"], confidence: float
) -> RefitIntervals:
    """Intervals of the mean difference.

    Raises:
        ValueError: fewer than two refits or units, or a difference that is not finite.
    """
    number, items = differences.shape
    if number < 2:
        raise ValueError(f"at least two refits are needed; got {number}")
    mean, over_items, over_units, of_units = _variances(differences.mean(axis=0), units)
    over_refits = float(differences.mean(axis=1).var(ddof=1) / number)
    return RefitIntervals(
        items=_interval(mean, [(over_items, max(items - of_units - 1, 1))], confidence),
        units=_interval(mean, [(over_units, of_units)], confidence),
        refits=_interval(mean, [(over_refits, number - 1)], confidence),
        all=_interval(mean, [(over_units, of_units), (over_refits, number - 1)], confidence),
    )


def _variances(
    by_item: Float[np.ndarray, " items"], units: Shaped[np.ndarray, " items"]
) -> tuple[float, float, float, int]:
    """The mean, its variances over items and over units, and the degrees of freedom of the latter."""
    names, codes = np.unique(units, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"at least two units are needed; got {len(names)}")
    if not np.isfinite(by_item).all():
        raise ValueError("differences must be finite")
    mean = float(by_item.mean())
    sizes = np.bincount(codes)
    by_unit = np.bincount(codes, weights=by_item) / sizes
    inside = np.bincount(codes, weights=(by_item - by_unit[codes]) ** 2) / np.maximum(sizes - 1, 1)
    fraction = sizes / len(by_item)
    over_items = float((fraction**2 * inside / sizes).sum())
    over_units = float((fraction**2 * (by_unit - mean) ** 2).sum() * len(names) / (len(names) - 1))
    return mean, over_items, over_units, len(names) - 1


def _interval(mean: float, variances: list[tuple[float, int]], confidence: float) -> Interval:
    """The t interval of independent variances of the mean, each with its degrees of freedom."""
    half = math.sqrt(sum(variance * stdtrit(degrees, (1 + confidence) / 2) ** 2 for variance, degrees in variances))
    return Interval(mean, mean - half, mean + half)
