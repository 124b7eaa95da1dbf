"""The score of a method at a given realised sparsity, so that methods are compared at equal compute.

A method is evaluated at a few targets and realises a somewhat different sparsity at each of them. Its mean score is
therefore read off the line through its points (mean realised sparsity, mean score), for every bootstrap replicate anew:
the interval then covers the uncertainty of the compute as well as of the score.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

EXTRAPOLATION = 0.02
"""How far past its last measured point a curve is continued (along its last segment). Realised sparsity misses its
target by about this much at most, and one method's last point must be readable at another's."""


@dataclass(frozen=True)
class Curve:
    """A method's per-sample results at several operating points, dense first.

    Attributes:
        score: the score of every sample at every point.
        sparsity: its realised sparsity there, or any other saving that is 0 for the dense model, for example
            `1 - flops / dense_flops`. The mean over samples rises from point to point.

    Raises:
        ValueError: shapes that differ, fewer than two points, no sample, or points out of order.
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


def curve_of(
    dense: Float[np.ndarray, " samples"],
    score: Float[np.ndarray, "targets samples"],
    saving: Float[np.ndarray, "targets samples"],
) -> Curve:
    """The curve from the dense model, which saves nothing, through every target that saves more than the one before.

    Raises:
        ValueError: none saves anything.
    """
    points = [(dense, np.zeros_like(dense))]
    for own in zip(score, saving, strict=True):
        if own[1].mean() > points[-1][1].mean():
            points.append(own)
    return Curve(*(np.array(values) for values in zip(*points, strict=True)))


def score_at(
    curve: Curve, at: float, weights: Float[np.ndarray, "replicates samples"]
) -> Float[np.ndarray, " replicates"]:
    """Mean score of every replicate at mean realised sparsity `at`.

    Within a replicate the mean score is a piecewise-linear function of the mean realised sparsity through the curve's
    points; up to `EXTRAPOLATION` past the last point its last segment is continued. Scores of two curves over the same
    samples, read with the same weights (`bootstrap.resampling_weights`), are paired.

    Raises:
        ValueError: `at` lies below the curve's first point or more than `EXTRAPOLATION` past its last.
    """
    _check_within(curve, at)
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


def values_at(curve: Curve, at: float) -> Float[np.ndarray, " samples"]:
    """What every sample adds to the mean score at `at`: their mean is `score_at` with equal weights.

        (1 - f) y0 + f y1 - b ((1 - f) x0 + f x1 - at)      f: where `at` lies between the means of x0 and x1

    Of a sample, y0 and y1 are the scores and x0 and x1 the sparsities at the points beside `at`, and b is the slope of
    the line through their means. To first order means over other samples vary as means of these numbers do, so
    variances of a matched score are those of plain means.

    Raises:
        ValueError: as in `score_at`.
    """
    _check_within(curve, at)
    x = curve.sparsity.mean(axis=1)
    left = int(np.clip((x <= at).sum() - 1, 0, len(x) - 2))
    fraction = (at - x[left]) / (x[left + 1] - x[left])
    score, sparsity = (
        (1 - fraction) * values[left] + fraction * values[left + 1] for values in (curve.score, curve.sparsity)
    )
    y = curve.score.mean(axis=1)
    return score - (y[left + 1] - y[left]) / (x[left + 1] - x[left]) * (sparsity - at)


def _check_within(curve: Curve, at: float) -> None:
    start, end = (float(curve.sparsity[point].mean()) for point in (0, -1))
    if not start <= at <= end + EXTRAPOLATION:
        raise ValueError(f"the curve is measured from {start:.4f} to {end:.4f}; it cannot be read at {at:.4f}")
