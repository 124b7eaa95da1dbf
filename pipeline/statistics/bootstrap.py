"""Percentile bootstrap intervals, over samples and over tasks.

One matrix of resampling weights, `[replicates, samples]`, multiplies all per-sample values at once: 1,000 replicates of
a curve are one matrix product, and everything that is computed from the same weights is paired by construction.

The bootstrap over samples says how a number would vary with other items of the SAME tasks. Whether it would hold on
other tasks like these is a different question with a wider answer, because items of a task succeed and fail together:
the bootstrap over tasks resamples tasks, then the samples of every task (Davison and Hinkley, 1997, 3.8). With few
tasks that answer is rough.

Percentile intervals assume neither symmetry nor a variance formula. They are not corrected for bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Interval:
    """A point estimate and the percentile bootstrap interval around it."""

    value: float
    low: float
    high: float


def resampling_weights(samples: int, replicates: int, seed: int) -> Float[np.ndarray, "replicates samples"]:
    """The weight of every sample in each replicate of the bootstrap over samples.

    Rows sum to 1; `weights @ values` are the replicates' means.

    Raises:
        ValueError: no sample or no replicate.
    """
    _refuse_nothing(samples, replicates)
    drawn = np.random.default_rng(seed).integers(0, samples, size=(replicates, samples))
    drawn += np.arange(replicates)[:, None] * samples
    counts = np.bincount(drawn.ravel(), minlength=replicates * samples)
    return counts.reshape(replicates, samples) / samples


def task_resampling_weights(
    tasks: Shaped[np.ndarray, " samples"], replicates: int, seed: int
) -> Float[np.ndarray, "replicates samples"]:
    """The weight of every sample in each replicate of the bootstrap over tasks.

    Rows sum to 1; `weights @ values` are the replicates' means over samples. A replicate draws as many tasks as there
    are, with replacement, and for every draw of a task as many of its samples as it has, with replacement. A task drawn
    m times gives m draws of its n samples, which is one multinomial of m n trials, so no loop over replicates is
    needed. Larger tasks weigh more, as in the mean over samples.

    Raises:
        ValueError: no sample or no replicate.
    """
    _refuse_nothing(len(tasks), replicates)
    generator = np.random.default_rng(seed)
    names, codes = np.unique(tasks, return_inverse=True)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    counts = np.zeros((replicates, len(tasks)))
    for task in range(len(names)):
        members = np.flatnonzero(codes == task)
        uniform = np.full(len(members), 1 / len(members))
        counts[:, members] = generator.multinomial(times[:, task] * len(members), uniform)
    return counts / counts.sum(axis=1, keepdims=True)


def percentile_interval(value: float, replicates: Float[np.ndarray, " replicates"], confidence: float) -> Interval:
    """The interval between the `(1 - confidence) / 2` and `(1 + confidence) / 2` quantiles of the replicates.

    Raises:
        ValueError: `confidence` does not lie strictly between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; got {confidence}")
    low, high = np.quantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))


def mean_interval(values: ArrayLike, *, replicates: int, confidence: float, seed: int) -> Interval:
    """The mean of per-sample values and its interval over resampled samples.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError(f"a non-empty list of finite numbers is needed; got shape {numbers.shape}")
    means = resampling_weights(len(numbers), replicates, seed) @ numbers
    return percentile_interval(float(numbers.mean()), means, confidence)


def _refuse_nothing(samples: int, replicates: int) -> None:
    if samples < 1 or replicates < 1:
        raise ValueError(f"at least one sample and one replicate are needed; got {samples} and {replicates}")
