"""Groups of samples whose allocation gradients agree: the scheme `gradient`.

A text's gradients say, to first order, how its loss falls if sparsity moves from one projection to another. A profile
of its own helps a group whose members agree on that, and not a group that merely looks alike: k-means on signatures
splits list tasks by their wording, which no allocation profits from. Clients of federated learning are grouped by
their gradients for the same reason (Sattler, Mueller, Samek, Clustered Federated Learning, arXiv:1910.01991).

One text's gradients are nearly all noise, and a new sample has none. What is clustered is therefore the part of them
that a sample's signature predicts:

    gradient_i   by the logits of the sparsities, without what lies along the budget; centred, scaled, clipped
    predicted_i  ridge regression from the principal components of the signatures to the gradients of the train texts
    group_i      the nearest centre of k-means on the predicted gradients of the train samples

The penalty and the number of groups are those with the largest held-out GAIN,

    sum over groups of  fraction of held-out texts in it  *  <m, h> / |m|

with m the mean gradient of the group's fitted texts and h that of its held-out texts, both less the mean of all: the
benefit of a step of length 1 along each group's own direction for texts that no direction was fitted to. More groups
follow finer differences and know their directions less well, so the gain has a maximum. The fewest groups within one
standard error of it are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from sklearn.cluster import KMeans
from sklearn.linear_model import Ridge

from wina_amp.grouping.clustering import by_size

PENALTIES = (10.0, 30.0, 100.0, 300.0)
"""Penalties of the ridge regression that are tried. On the reference model the gain is flat between 30 and 100
(docs/log.md)."""

FOLDS, DRAWS = 4, 4
"""Folds of cross-validation, and how often the train texts are cut into folds anew."""

STARTS, STARTS_HELD_OUT = 10, 3
"""Random starts of k-means, in the fit that is kept and in those that only measure a gain."""

LONGEST = 2.0
"""Medians of length: longer allocation gradients, of single texts that are lost altogether, are shortened to it."""

AllocationGradients = Float[ndarray, "texts directions"]


@dataclass(frozen=True)
class Gain:
    """The held-out gain of a number of groups: its mean over folds and the standard error of that."""

    count: int
    penalty: float
    mean: float
    error: float


@dataclass(frozen=True)
class GradientGroups:
    """Groups of all samples.

    Attributes:
        groups: of every sample, from 0, ordered by train size.
        distances: Euclidean distance of every sample's predicted gradient to the centre of its group.
        chosen: the gain of the number of groups that was taken.
        gains: the best penalty's gain for every number of groups that was tried.
    """

    groups: Int[ndarray, " samples"]
    distances: Float[ndarray, " samples"]
    chosen: Gain
    gains: Sequence[Gain]


def allocation_gradients(
    gradients: Sequence[Float[ndarray, "texts projections"]],
    allocations: Sequence[Float[ndarray, " projections"]],
    fraction: Float[ndarray, " projections"],
) -> AllocationGradients:
    """The allocation gradient of every text: its loss by moves of sparsity between projections, at several targets.

    Args:
        gradients: at every target: derivative of each text's loss by each sparsity.
        allocations: at every target: the sparsities that they were taken at.
        fraction: weights of every projection over those of all.

    Guarantee: what lies along the budget is taken out before directions are scaled, so gradients that ask for less
    sparsity everywhere change nothing; a projection at sparsity 0 or 1 cannot be moved and has gradient 0. The median
    length is at most 1, the longest `LONGEST`.
    """
    parts: list[ndarray] = []
    for gradient, sparsity in zip(gradients, allocations, strict=True):
        inner = sparsity * (1 - sparsity)
        budget = fraction * inner
        by_logit = gradient * inner
        by_logit = by_logit - np.outer(by_logit @ budget, budget) / max(float(budget @ budget), _TINY)
        parts.append(_scaled(by_logit))
    joined = np.concatenate(parts, axis=1)
    length = np.linalg.norm(joined, axis=1)
    longest = LONGEST * max(float(np.median(length)), _TINY)
    return joined * np.minimum(1, longest / np.maximum(length, _TINY))[:, None] / (longest / LONGEST)


def gradient_groups(
    points: Float[ndarray, "samples components"],
    train: Bool[ndarray, " samples"],
    gradients: AllocationGradients,
    counts: Sequence[int],
    seed: int,
) -> GradientGroups:
    """Choose penalty and number of groups on the train samples, fit on all of them, and assign every sample.

    Args:
        points: principal components of the samples' signatures (`clustering.features`).
        train: the samples that have allocation gradients.
        gradients: of the train samples, in their order.
        counts: numbers of groups to choose from; each at least 2 and at most half of the train samples.
        seed: of folds and of k-means.

    Guarantee: deterministic for a seed; a test sample changes nothing but its own group.
    """
    known = points[train]
    measured = _gains(known, gradients, counts, seed)
    chosen = _choose(measured)
    predicted = _regression(known, gradients, chosen.penalty).predict(points)
    rule = _kmeans(predicted[train], chosen.count, STARTS, seed)
    order = by_size(rule.labels_)
    rename = np.empty(len(order), dtype=np.int64)
    rename[order] = np.arange(len(order))
    groups = rename[rule.predict(predicted)]
    distances = np.linalg.norm(predicted - rule.cluster_centers_[order][groups], axis=1)
    return GradientGroups(groups, distances, chosen, _best(measured))


def held_out_gain(groups: Int[ndarray, " texts"], gradients: AllocationGradients, seed: int) -> tuple[float, float]:
    """The gain of given groups: its mean over folds, and the standard error of that.

    Groups of labels and random ones are measured with it; groups that were made from these allocation gradients would
    look better than they are.
    """
    return _mean([_gain(groups, gradients, fitted, held) for fitted, held in _folds(len(groups), seed)])


def _gains(points: ndarray, gradients: AllocationGradients, counts: Sequence[int], seed: int) -> list[Gain]:
    """The gain of every penalty and number of groups; regression and k-means see the fitted texts of a fold only."""
    gains: dict[tuple[int, float], list[float]] = {}
    for fitted, held in _folds(len(points), seed):
        for penalty in PENALTIES:
            predicted = _regression(points[fitted], gradients[fitted], penalty).predict(points)
            for count in counts:
                groups = _kmeans(predicted[fitted], count, STARTS_HELD_OUT, seed).predict(predicted)
                gains.setdefault((count, penalty), []).append(_gain(groups, gradients, fitted, held))
    return [Gain(count, penalty, *_mean(values)) for (count, penalty), values in gains.items()]


def _gain(groups: ndarray, gradients: AllocationGradients, fitted: ndarray, held: ndarray) -> float:
    first, second = gradients[fitted].mean(axis=0), gradients[held].mean(axis=0)
    total = 0.0
    for group in np.unique(groups[held]):
        own, others = fitted[groups[fitted] == group], held[groups[held] == group]
        if len(own):
            direction = gradients[own].mean(axis=0) - first
            benefit = (gradients[others].mean(axis=0) - second) @ direction
            total += len(others) / len(held) * float(benefit) / max(float(np.linalg.norm(direction)), _TINY)
    return total


def _choose(measured: Sequence[Gain]) -> Gain:
    """The fewest groups within a standard error of the largest gain; of equal numbers the largest gain."""
    best = max(measured, key=lambda gain: gain.mean)
    good = [gain for gain in measured if gain.mean >= best.mean - best.error]
    return min(good, key=lambda gain: (gain.count, -gain.mean))


def _best(measured: Sequence[Gain]) -> list[Gain]:
    """The best penalty's gain for every number of groups."""
    counts = sorted({gain.count for gain in measured})
    return [max((gain for gain in measured if gain.count == count), key=lambda gain: gain.mean) for count in counts]


def _folds(texts: int, seed: int) -> Iterator[tuple[ndarray, ndarray]]:
    """The numbers of the fitted and of the held-out texts, for every fold of every draw."""
    generator = np.random.default_rng(seed)
    for _ in range(DRAWS):
        shuffled = generator.permutation(texts)
        for fold in range(FOLDS):
            is_held = np.arange(texts) % FOLDS == fold
            yield shuffled[~is_held], shuffled[is_held]


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _regression(points: ndarray, gradients: AllocationGradients, penalty: float) -> Any:
    return cast(Any, Ridge)(alpha=penalty).fit(points, gradients)


def _kmeans(points: ndarray, count: int, starts: int, seed: int) -> Any:
    return cast(Any, KMeans)(count, n_init=starts, random_state=seed).fit(points)


def _scaled(values: ndarray) -> ndarray:
    """Centred, and every direction divided by its deviation."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > _TINY, spread, np.inf)


_TINY = 1e-12
