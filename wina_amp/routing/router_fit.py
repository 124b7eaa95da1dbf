"""Fit a router: standardised features, multinomial logistic regression, both folded into one linear layer.

    minimise  mean_i -log p(group_i | features_i)  +  (weight_decay / 2) ||W||^2       over standardised features

The problem is convex: the result depends neither on a seed nor on the order of samples (up to the solver's tolerance).
Only train samples may be passed in; that is the caller's duty.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.linear_model import LogisticRegression

from wina_amp.routing.router import Router

_LEAST_DECAY = 1e-8
"""Without any penalty separable groups have no minimum; a weight decay below this is raised to it."""

_ITERATIONS = 5000


def fit_router(
    features: Float[ndarray, "samples features"], groups: Int[ndarray, " samples"], *, weight_decay: float
) -> Router:
    """The router for groups numbered from 0 without gaps; with one group it always chooses that group.

    Raises:
        ValueError: a group number without samples.
    """
    number = int(groups.max()) + 1
    if len(np.unique(groups)) != number:
        raise ValueError(f"groups must be numbered without gaps, got {np.unique(groups).tolist()}")
    values = np.asarray(features, dtype=np.float64)
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(mean)), spread, np.inf)  # a feature that never varies gets no weight
    weight, bias = _logistic((values - mean) / spread, groups, number, max(weight_decay, _LEAST_DECAY))
    folded = weight / spread
    return Router(torch.from_numpy(folded).float(), torch.from_numpy(bias - folded @ mean).float())


def _logistic(
    features: Float[ndarray, "samples features"], groups: Int[ndarray, " samples"], number: int, weight_decay: float
) -> tuple[Float[ndarray, "groups features"], Float[ndarray, " groups"]]:
    if number == 1:
        return np.zeros((1, features.shape[1])), np.zeros(1)
    strength = 1 / (weight_decay * len(features))  # scikit-learn's C weighs the SUM of the losses
    fitted = LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=1e-6).fit(features, groups)
    if number == 2:  # scikit-learn keeps one row for two groups: the difference of their logits
        return np.vstack([-fitted.coef_ / 2, fitted.coef_ / 2]), np.concatenate(
            [-fitted.intercept_, fitted.intercept_]
        ) / 2
    return fitted.coef_, fitted.intercept_
