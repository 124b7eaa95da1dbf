"""`pipeline.routing.benefit_router_fit`: ridge as transcribed, the best candidate on unseen folds, cautious where
no profile has a benefit."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.routing.benefit_router_fit import (
    FOLDS,
    MARGINS,
    PENALTIES,
    BenefitRouter,
    fit_benefit_router,
    fold_of,
    realised,
)
from tests.reference.ridge import earned, ridge

SEED = 3
ROUNDING = 1e-9
"""Means over float64 predictions of two ways to solve one ridge regression; benefits are of order 1."""
SINGLE = 1e-4
"""Predictions of order 1 from weights and biases that were rounded to float32; one feature is of order 1e3."""


def data(samples=120, noise=0.3, seed=0):
    """Benefits that are linear in the features, of which two have odd scales, plus noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(samples, 5)) * np.array([1, 100, 0.01, 1, 1]) + np.array([0, 1000, 0, -2, 0])
    gradients = rng.normal(size=(5, 3)) / np.array([1, 100, 0.01, 1, 1])[:, None]
    benefits = (features - features.mean(axis=0)) @ gradients * 0.3 - 0.2
    return features, benefits + noise * rng.normal(size=benefits.shape)


def choices(fitted: BenefitRouter, features):
    return fitted.router.probabilities(features).argmax(axis=1)


def test_penalty_and_margin_earn_most_of_all_candidates_on_folds_that_the_fit_has_not_seen() -> None:
    features, benefits = data()
    fitted, folds = fit_benefit_router(features, benefits, SEED), fold_of(len(features), SEED)
    slow = {(p, m): earned(features, benefits, folds, p, m) for p in PENALTIES for m in MARGINS}
    assert fitted.expected_benefit == pytest.approx(max(slow.values()), abs=ROUNDING)
    assert slow[fitted.penalty, fitted.margin] == pytest.approx(fitted.expected_benefit, abs=ROUNDING)
    assert fitted.expected_benefit > 0.1


def test_outputs_are_the_ridge_regression_and_the_margin() -> None:
    features, benefits = data()
    fitted = fit_benefit_router(features, benefits, SEED)
    assert np.isfinite(fitted.margin)
    outputs = fitted.router(fitted.router.weight.new_tensor(features)).numpy()
    slow = ridge(features, benefits, fitted.penalty)(features)
    assert np.allclose(outputs[:, :3], slow, atol=SINGLE)
    assert np.allclose(outputs[:, 3], fitted.margin)
    clear = np.abs(slow.max(axis=1) - fitted.margin) > 2 * SINGLE
    expected = np.where(slow.max(axis=1) > fitted.margin, slow.argmax(axis=1), 3)
    assert (choices(fitted, features) == expected)[clear].all() and clear.mean() > 0.95
    assert set(choices(fitted, features).tolist()) == {0, 1, 2, 3}


def test_a_benefit_router_stays_with_the_pooled_profile_where_no_other_has_a_benefit() -> None:
    features, benefits = data(noise=0.0)
    fitted = fit_benefit_router(features, -np.abs(benefits) - 0.1, SEED)
    assert fitted.expected_benefit == 0 and np.isinf(fitted.margin)
    assert set(choices(fitted, features).tolist()) == set(choices(fitted, 1000 * features).tolist()) == {3}


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_never_promises_a_loss_and_a_gain_everywhere_is_taken(seed) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 8))
    assert fit_benefit_router(features, rng.normal(-0.3, 1, (60, 4)), seed).expected_benefit >= 0
    better = np.column_stack([np.full(60, -1.0), np.full(60, 0.5)])
    assert set(choices(fit_benefit_router(features, better, seed), features).tolist()) == {1}


def test_a_feature_that_never_varies_is_ignored_and_the_same_seed_gives_the_same_router() -> None:
    features, benefits = data()
    constant = np.column_stack([features, np.full(len(features), 7.0)])
    fitted, again = (fit_benefit_router(constant, benefits, SEED) for _ in range(2))
    assert fitted.router.weight[:, -1].abs().max() == 0
    assert fitted.router.weight.equal(again.router.weight) and fitted.margin == again.margin


def test_more_features_than_samples_are_no_obstacle() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 40))
    benefits = features[:, :2] + 0.1 * rng.normal(size=(12, 2))
    fitted = fit_benefit_router(features, benefits, SEED)
    outputs = fitted.router(fitted.router.weight.new_tensor(features)).numpy()
    assert np.isfinite(fitted.margin) and fitted.expected_benefit > 0
    assert np.allclose(outputs[:, :2], ridge(features, benefits, fitted.penalty)(features), atol=SINGLE)


def test_folds_are_of_equal_size_and_no_more_than_samples() -> None:
    assert np.bincount(fold_of(25, SEED)).tolist() in ([3] * 5 + [2] * 5, sorted([3] * 5 + [2] * 5))
    assert len(np.bincount(fold_of(25, SEED))) == FOLDS
    assert sorted(fold_of(3, SEED).tolist()) == [0, 1, 2]


def test_what_is_realised_is_the_benefit_of_the_largest_prediction_above_the_margin() -> None:
    predicted = np.array([[0.2, 0.5], [0.3, 0.1], [-1.0, 0.05]])
    benefits = np.array([[9.0, 1.0], [-2.0, 9.0], [9.0, 9.0]])
    assert realised(predicted, benefits, 0.1) == pytest.approx((1.0 - 2.0 + 0.0) / 3)
    assert realised(predicted, benefits, float("inf")) == 0


def test_one_sample_or_missing_benefits_are_refused() -> None:
    with pytest.raises(ValueError, match="two samples or more and finite benefits, got 1"):
        fit_benefit_router(np.zeros((1, 2)), np.zeros((1, 2)), SEED)
    with pytest.raises(ValueError, match="finite"):
        fit_benefit_router(np.zeros((4, 2)), np.full((4, 2), np.nan), SEED)
