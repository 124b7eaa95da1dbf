"""Fit a benefit router: a linear layer that predicts the benefit of every group's profile from a prompt.

    predicted(x) = W z(x) + b        z: standardised features; b: mean benefit of every group
    W = argmin sum over samples and groups of (benefit - predicted)^2  +  penalty * samples * ||W||^2      (ridge)
    choice(x) = the group of the largest prediction if that exceeds the margin, else the pooled profile

The penalty and the margin are those whose choices have the largest mean benefit in cross-validation (the pooled profile
has benefit 0 by definition). "Always the pooled profile" is among the candidates, so that mean is never below 0; among
equals the more cautious candidate is taken.

The margin is the bias of one more output whose weights are 0. The benefit router is then a router like any other: the
largest output is the choice, and the last group is the pooled profile. Only train samples may be passed in; that is the
caller's duty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from wina_amp.routing.router import Router

PENALTIES = tuple(10.0**power for power in np.arange(-3, 3.5, 0.5))
"""Penalties that are tried, per sample, for features of variance 1: from hardly any shrinkage to hardly more than the
mean."""

MARGINS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, float("inf"))
"""Predicted benefits that must be exceeded, as tried; infinity never leaves the pooled profile."""

FOLDS = 10


@dataclass(frozen=True)
class BenefitRouter:
    """A fitted benefit router.

    Attributes:
        router: one output for every group, and one for the pooled profile.
        penalty, margin: chosen by cross-validation.
        expected_benefit: mean benefit of the choices in cross-validation; 0 or more. Slightly too good: it is the
            best of many.
    """

    router: Router
    penalty: float
    margin: float
    expected_benefit: float


def fit_benefit_router(
    features: Float[ndarray, "samples features"], benefits: Float[ndarray, "samples groups"], seed: int
) -> BenefitRouter:
    """The benefit router for these train samples and their benefits (`pipeline/routing/benefits.py`); `seed` draws the
    folds.

    Raises:
        ValueError: fewer than two samples, or benefits that are not finite.
    """
    values = np.asarray(features, dtype=np.float64)
    if len(values) < 2 or not np.isfinite(benefits).all():
        raise ValueError(f"a benefit router needs two samples or more and finite benefits, got {len(values)} samples")
    validated = _validated(values, benefits, fold_of(len(values), seed))
    # The last of equal maxima: the highest penalty, then the highest margin.
    best = len(validated.flat) - 1 - int(np.argmax(validated.ravel()[::-1]))
    penalty, margin = PENALTIES[best // len(MARGINS)], MARGINS[best % len(MARGINS)]
    weight, bias = _fitted(values, benefits, (penalty,))[0]
    return BenefitRouter(_folded(weight, bias, margin), penalty, margin, float(validated.flat[best]))


def fold_of(samples: int, seed: int) -> Int[ndarray, " samples"]:
    """The fold of every sample: folds of equal size, up to one, drawn by the seed."""
    return np.random.default_rng(seed).permutation(np.arange(samples) % min(FOLDS, samples))


def realised(
    predicted: Float[ndarray, "samples groups"], benefits: Float[ndarray, "samples groups"], margin: float
) -> float:
    """The mean benefit of the choices that follow from predictions: 0 where none exceeds the margin."""
    choice = predicted.argmax(axis=1)
    rows = np.arange(len(choice))
    return float(np.where(predicted[rows, choice] > margin, benefits[rows, choice], 0.0).mean())


def _validated(
    features: Float[ndarray, "samples features"], benefits: Float[ndarray, "samples groups"], folds: Int[ndarray, " s"]
) -> Float[ndarray, "penalties margins"]:
    """Mean benefit of the choices on held-out folds, for every penalty and margin."""
    predicted = np.zeros((len(PENALTIES), *benefits.shape))
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        layers = _fitted(features[~out], benefits[~out], PENALTIES)
        predicted[:, out] = [features[out] @ weight.T + bias for weight, bias in layers]
    return np.array([[realised(predicted[i], benefits, margin) for margin in MARGINS] for i in range(len(PENALTIES))])


def _fitted(
    features: Float[ndarray, "samples features"],
    benefits: Float[ndarray, "samples groups"],
    penalties: tuple[float, ...],
) -> list[tuple[Float[ndarray, "groups features"], Float[ndarray, " groups"]]]:
    """Weights and biases for every penalty, on features as they are; one decomposition serves all: of the smaller of
    X'X and XX', since (X'X + p)^-1 X' = X' (XX' + p)^-1."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(mean)), spread, np.inf)  # a feature that never varies gets no weight
    x, offset = (features - mean) / spread, benefits.mean(axis=0)
    is_tall = len(x) >= x.shape[1]
    squares, axes = np.linalg.eigh(x.T @ x if is_tall else x @ x.T)
    rotated = axes.T @ (x.T @ (benefits - offset) if is_tall else benefits - offset)
    back = axes if is_tall else x.T @ axes
    layers: list[tuple[ndarray, ndarray]] = []
    for penalty in penalties:
        shrunk = rotated / (squares.clip(min=0) + penalty * len(x))[:, None]
        weight = (back @ shrunk).T / spread
        layers.append((weight, offset - weight @ mean))
    return layers


def _folded(weight: Float[ndarray, "groups features"], bias: Float[ndarray, " groups"], margin: float) -> Router:
    """The benefit router as one linear layer. One that never leaves the pooled profile predicts 0 for every group and 1
    for it: infinity is no bias."""
    if np.isinf(margin):
        weight, bias, margin = np.zeros_like(weight), np.zeros_like(bias), 1.0
    rows = np.vstack([weight, np.zeros((1, weight.shape[1]))])
    return Router(torch.from_numpy(rows).float(), torch.from_numpy(np.append(bias, margin)).float())
