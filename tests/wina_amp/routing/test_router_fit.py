"""`wina_amp.routing.router_fit`: the folded router is the regression on standardised features, for any number of
groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from wina_amp.routing.router_fit import fit_router

DECAY = 0.01
SOLVER = 1e-3
"""Probabilities of two fits of one convex problem, each stopped at its solver's tolerance, the weights in float32."""


def data(groups, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(120) % groups
    features = rng.normal(0, 1, (120, 6)) + rng.normal(0, 1.5, (groups, 6))[labels]
    return features * np.array([1, 100, 0.01, 1, 1, 1]) + np.array([0, 5000, 0, 0, -3, 1]), labels


@pytest.mark.parametrize("groups", [2, 3, 5])
def test_folding_the_standardisation_changes_no_probability(groups) -> None:
    features, labels = data(groups)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1 / (DECAY * 120), tol=1e-8, max_iter=10000))
    expected = model.fit(features, labels).predict_proba(features)
    probabilities = fit_router(features, labels, weight_decay=DECAY).probabilities(features)
    assert np.allclose(probabilities, expected, atol=SOLVER)
    assert (probabilities.argmax(axis=1) == labels).mean() > 0.8


def test_a_feature_that_never_varies_is_ignored() -> None:
    features, labels = data(3)
    with_constant = np.column_stack([features, np.full(120, 7.0)])
    router = fit_router(with_constant, labels, weight_decay=DECAY)
    assert router.weight[:, -1].abs().max() == 0
    changed = with_constant + np.array([0] * 6 + [1e6])
    assert np.allclose(router.probabilities(changed), router.probabilities(with_constant), atol=SOLVER)


def test_one_group_is_always_named_and_separable_groups_need_no_decay() -> None:
    features, labels = data(3)
    assert fit_router(features, labels * 0, weight_decay=DECAY).probabilities(features).tolist() == [[1.0]] * 120
    far = np.column_stack([labels * 100.0, features[:, 0]])
    assert np.isfinite(fit_router(far, labels, weight_decay=0.0).probabilities(far)).all()


def test_groups_with_gaps_are_refused() -> None:
    features, labels = data(2)
    with pytest.raises(ValueError, match="without gaps"):
        fit_router(features, labels * 2, weight_decay=DECAY)
