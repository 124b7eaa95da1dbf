"""Agreement between labelings, and bootstrap intervals for means, differences and differences at equal compute.

Every interval of the report comes from here. Resampling is over samples and shared: one matrix of resampling weights
(`resampling_weights`) multiplies all per-sample numbers at once, so that 1,000 replicates of a curve are one matrix
product, and everything computed from the same weights is paired by construction. Agreement is resampled on the
contingency table (a multinomial over its cells), which is the same bootstrap at the cost of the table instead of the
samples.

Intervals are plain percentile intervals: they need no assumption of symmetry and no variance formula. They are not
corrected for bias: NMI is never negative, so its interval cannot contain 0 and independent labels show a small positive
value (about `(A-1)(B-1)/(2 n H)`); read ARI, which is adjusted for chance, for the question "is there any agreement at
all". This module knows nothing of tables, methods or targets' names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

EXTRAPOLATION = 0.02
"""How far past its last measured point a curve is continued (along its last segment). Realised sparsity misses its
target by about this much at most, and one method's last point must be readable at another's."""
CELLS = 5_000_000
"""Cells of resampled three-way tables that are held at a time."""


@dataclass(frozen=True)
class Interval:
    """A point estimate and the percentile bootstrap interval around it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """How far two labelings of the same samples say the same: all are 1 for equal partitions. `purity` is of the first
    labeling's groups (`purity`)."""

    nmi: Interval
    ari: Interval
    purity: Interval


@dataclass(frozen=True)
class Curve:
    """A method's per-sample results at several operating points, dense first.

    `score[p, i]` is the score of sample i at point p and `sparsity[p, i]` the realised sparsity (or any other saving
    that is 0 for the dense model, for example `1 - flops / dense_flops`). Curves that are compared have the same
    samples in the same order.
    """

    score: Float[np.ndarray, "points samples"]
    sparsity: Float[np.ndarray, "points samples"]

    def __post_init__(self) -> None:
        if self.score.shape != self.sparsity.shape or self.score.ndim != 2:
            raise ValueError(
                f"a curve needs two arrays of shape [points, samples]; got {self.score.shape} and {self.sparsity.shape}"
            )
        if self.score.shape[0] < 2 or self.score.shape[1] < 1:
            raise ValueError(f"a curve needs at least two points and one sample; got {self.score.shape}")
        if np.any(np.diff(self.sparsity.mean(axis=1)) <= 0):
            raise ValueError(f"mean sparsity must rise from point to point; got {self.sparsity.mean(axis=1).tolist()}")


@dataclass(frozen=True)
class Difference:
    """Two methods read at the same realised sparsity `at`: `difference = first - second`, paired over samples."""

    at: float
    first: Interval
    second: Interval
    difference: Interval


def contingency(a: ArrayLike, b: ArrayLike) -> Int[np.ndarray, "labels_a labels_b"]:
    """Count how often each label of `a` meets each label of `b` (labels of any sortable type, sorted).

    Raises:
        ValueError: if the labelings are empty or differ in length.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"two labelings of the same samples are needed; got shapes {first.shape} and {second.shape}")
    names_a, codes_a = np.unique(first, return_inverse=True)
    names_b, codes_b = np.unique(second, return_inverse=True)
    flat = np.bincount(codes_a * len(names_b) + codes_b, minlength=len(names_a) * len(names_b))
    return flat.reshape(len(names_a), len(names_b))


def normalized_mutual_information(a: ArrayLike, b: ArrayLike) -> float:
    """`2 I(A;B) / (H(A) + H(B))`, in [0, 1]; 1 for equal partitions, two constant labelings included."""
    return float(_nmi(contingency(a, b)[None])[0])


def adjusted_rand_index(a: ArrayLike, b: ArrayLike) -> float:
    """Rand index adjusted for chance (Hubert and Arabie, 1985): 1 for equal partitions, 0 expected for independent."""
    return float(_ari(contingency(a, b)[None])[0])


def purity(groups: ArrayLike, labels: ArrayLike) -> float:
    """The share of samples that have the commonest label of their group: `sum over g of max over l of n_gl / n`.

    Not symmetric and not adjusted for chance: it is at least the share of the commonest label, and many small groups
    are pure by themselves.
    """
    return float(_purity(contingency(groups, labels)[None])[0])


def agreement(a: ArrayLike, b: ArrayLike, *, replicates: int, confidence: float, seed: int) -> Agreement:
    """NMI, ARI and purity of two labelings with percentile intervals over resampled samples.

    Cost: `replicates` x cells of the contingency table, whatever the number of samples.
    """
    table = contingency(a, b)
    total = int(table.sum())
    drawn = np.random.default_rng(seed).multinomial(total, table.ravel() / total, size=replicates)
    tables = drawn.reshape(replicates, *table.shape)
    measured = (_interval(float(one(table[None])[0]), one(tables), confidence) for one in (_nmi, _ari, _purity))
    return Agreement(*measured)


def nmi_difference(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, replicates: int, confidence: float, seed: int
) -> Interval:
    """NMI(second; labels) - NMI(first; labels) of two groupings of the same samples, paired over resampled samples.

    Samples are resampled on the three-way table of both groupings and the labels, so both NMIs of a replicate are of
    the same samples.
    """
    sizes, cells = zip(*(_coded(one) for one in (first, second, labels)), strict=True)
    table = np.bincount(np.ravel_multi_index(cells, sizes), minlength=int(np.prod(sizes)))
    generator, total = np.random.default_rng(seed), int(table.sum())
    gaps = [_nmi_gap(table[None], sizes)]
    for start in range(0, replicates, step := max(1, CELLS // table.size)):
        drawn = generator.multinomial(total, table / total, size=min(step, replicates - start))
        gaps.append(_nmi_gap(drawn, sizes))
    return _interval(float(gaps[0][0]), np.concatenate(gaps[1:]), confidence)


def resampling_weights(samples: int, replicates: int, seed: int) -> Float[np.ndarray, "replicates samples"]:
    """Every sample's share in each bootstrap replicate: rows sum to 1, `weights @ values` are the replicates' means."""
    if samples < 1 or replicates < 1:
        raise ValueError(f"at least one sample and one replicate are needed; got {samples} and {replicates}")
    drawn = np.random.default_rng(seed).integers(0, samples, size=(replicates, samples))
    drawn += np.arange(replicates)[:, None] * samples
    counts = np.bincount(drawn.ravel(), minlength=replicates * samples)
    return counts.reshape(replicates, samples) / samples


def mean_interval(values: ArrayLike, *, replicates: int, confidence: float, seed: int) -> Interval:
    """The mean of per-sample values and its interval."""
    numbers = _finite(values)
    return _interval(float(numbers.mean()), resampling_weights(len(numbers), replicates, seed) @ numbers, confidence)


def paired_difference(
    first: ArrayLike, second: ArrayLike, *, replicates: int, confidence: float, seed: int
) -> Interval:
    """`mean(first - second)` over the same samples in the same order, with the interval of the differences."""
    a, b = _finite(first), _finite(second)
    if a.shape != b.shape:
        raise ValueError(f"paired values must have the same length; got {a.shape} and {b.shape}")
    return mean_interval(a - b, replicates=replicates, confidence=confidence, seed=seed)


def reach(curve: Curve) -> float:
    """The mean realised sparsity of the curve's last point."""
    return float(curve.sparsity[-1].mean())


def score_at(
    curve: Curve, at: float, weights: Float[np.ndarray, "replicates samples"]
) -> Float[np.ndarray, " replicates"]:
    """Mean score of every replicate at mean realised sparsity `at`.

    Within a replicate the mean score is a piecewise-linear function of the mean realised sparsity through the curve's
    points; up to `EXTRAPOLATION` past the last point its last segment is continued.

    Raises:
        ValueError: if `at` lies below the curve's first point or more than `EXTRAPOLATION` past `reach`.
    """
    start, end = float(curve.sparsity[0].mean()), reach(curve)
    if not start <= at <= end + EXTRAPOLATION:
        raise ValueError(f"the curve is measured from {start:.4f} to {end:.4f}; it cannot be read at {at:.4f}")
    points = len(curve.score)
    means = weights @ np.concatenate([curve.sparsity, curve.score]).T
    order = np.argsort(means[:, :points], axis=1, kind="stable")
    x = np.take_along_axis(means[:, :points], order, axis=1)
    y = np.take_along_axis(means[:, points:], order, axis=1)
    left = np.clip((x <= at).sum(axis=1) - 1, 0, points - 2)[:, None]
    x0, x1 = (np.take_along_axis(x, left + step, axis=1)[:, 0] for step in (0, 1))
    y0, y1 = (np.take_along_axis(y, left + step, axis=1)[:, 0] for step in (0, 1))
    span = x1 - x0
    fraction = np.divide(at - x0, span, out=np.zeros_like(span), where=span > 0)
    return y0 + fraction * (y1 - y0)


def difference_at_equal_compute(
    first: Curve, second: Curve, at: float | Sequence[float], *, replicates: int, confidence: float, seed: int
) -> list[Difference]:
    """Accuracy of two methods at the same realised sparsity, and the paired bootstrap interval of the difference.

    Every replicate redraws samples, recomputes both curves on them (accuracy AND realised sparsity) and reads both at
    `at` (`score_at`), so the interval covers the uncertainty of the compute as well as of the accuracy. Choose `at` up
    to the smaller `reach`.

    Raises:
        ValueError: if the curves have different samples, or `at` lies outside one of them.
    """
    if first.score.shape[1] != second.score.shape[1]:
        raise ValueError(f"curves must cover the same samples; got {first.score.shape[1]} and {second.score.shape[1]}")
    samples = first.score.shape[1]
    weights = resampling_weights(samples, replicates, seed)
    whole = np.full((1, samples), 1 / samples)
    found: list[Difference] = []
    for point in [at] if isinstance(at, (int, float)) else at:
        a, b = (score_at(curve, point, weights) for curve in (first, second))
        value_a, value_b = (float(score_at(curve, point, whole)[0]) for curve in (first, second))
        found.append(
            Difference(
                float(point),
                _interval(value_a, a, confidence),
                _interval(value_b, b, confidence),
                _interval(value_a - value_b, a - b, confidence),
            )
        )
    return found


def _finite(values: ArrayLike) -> Float[np.ndarray, " samples"]:
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"a non-empty list of finite numbers is needed; got shape {numbers.shape}")
    return numbers


def _interval(value: float, replicates: Float[np.ndarray, " replicates"], confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; got {confidence}")
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def _entropy(counts: Float[np.ndarray, "tables cells"]) -> Float[np.ndarray, " tables"]:
    fraction = counts / counts.sum(axis=1, keepdims=True)
    return -np.sum(fraction * np.log(fraction, out=np.zeros_like(fraction), where=fraction > 0), axis=1)


def _nmi(tables: Int[np.ndarray, "tables labels_a labels_b"]) -> Float[np.ndarray, " tables"]:
    rows, columns = _entropy(tables.sum(axis=2)), _entropy(tables.sum(axis=1))
    mutual = np.maximum(rows + columns - _entropy(tables.reshape(len(tables), -1)), 0.0)
    norm = (rows + columns) / 2
    return np.minimum(np.divide(mutual, norm, out=np.ones_like(norm), where=norm > 0), 1.0)


def _pairs(counts: Float[np.ndarray, "tables cells"]) -> Float[np.ndarray, " tables"]:
    numbers = counts.astype(np.float64)
    return np.sum(numbers * (numbers - 1) / 2, axis=1)


def _ari(tables: Int[np.ndarray, "tables labels_a labels_b"]) -> Float[np.ndarray, " tables"]:
    rows, columns = _pairs(tables.sum(axis=2)), _pairs(tables.sum(axis=1))
    both = _pairs(tables.reshape(len(tables), -1))
    total = _pairs(tables.sum(axis=(1, 2))[:, None])
    expected = np.divide(rows * columns, total, out=np.zeros_like(total), where=total > 0)
    spread = (rows + columns) / 2 - expected
    return np.divide(both - expected, spread, out=np.ones_like(spread), where=spread > 0)


def _purity(tables: Int[np.ndarray, "tables groups labels"]) -> Float[np.ndarray, " tables"]:
    return tables.max(axis=2).sum(axis=1) / tables.sum(axis=(1, 2))


def _coded(labels: ArrayLike) -> tuple[int, Int[np.ndarray, " samples"]]:
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    return len(names), codes


def _nmi_gap(tables: Int[np.ndarray, "tables cells"], sizes: tuple[int, ...]) -> Float[np.ndarray, " tables"]:
    cubes = tables.reshape(len(tables), *sizes)
    return _nmi(cubes.sum(axis=1)) - _nmi(cubes.sum(axis=2))
