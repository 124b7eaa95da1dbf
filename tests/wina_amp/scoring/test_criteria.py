"""`wina_amp.scoring.criteria`: the criteria against their equations, dtypes, and the list of names in the settings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wina_amp.allocation.blocks import random_model
from wina_amp import names
from wina_amp.errors import UserError
from wina_amp.models.families import ACTIVATED_GATE, INPUT
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED
from wina_amp.scoring.criteria import CRITERIA, column_norms, feature_weights, projection_weights, scores

FLOAT32_NORM = 1e-6
"""Relative rounding of a float32 sum of some tens of squares."""


def _weight(dtype=torch.float32):
    return torch.randn(24, 17, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_wina_scores_by_the_norm_of_the_column_in_float32(dtype):
    weight = _weight(dtype)
    exact = np.array([np.sqrt(sum(float(w) ** 2 for w in column)) for column in weight.T.double().numpy()])
    weights = feature_weights("wina", weight)
    assert weights.dtype == torch.float32
    np.testing.assert_allclose(weights.numpy(), exact, rtol=FLOAT32_NORM)


@pytest.mark.parametrize("numbers", [1, 17, 40, 24 * 17])
def test_norms_do_not_depend_on_how_rows_are_taken_together(numbers, monkeypatch):
    expected = column_norms(_weight(torch.bfloat16))
    monkeypatch.setattr("wina_amp.scoring.criteria._NUMBERS_AT_ONCE", numbers)  # blocks of 1, 1, 2 and 24 rows
    torch.testing.assert_close(column_norms(_weight(torch.bfloat16)), expected, rtol=FLOAT32_NORM, atol=0)


@pytest.mark.parametrize("name", ["q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down"])
def test_the_released_code_of_wina_uses_norms_for_k_and_gate_only(name):
    weight = _weight()
    same_as = "wina" if name in ("k", "gate", "qkv", "gate_up") else "teal"
    assert torch.equal(feature_weights("wina_released", weight, name), feature_weights(same_as, weight, name))


def test_teal_scores_by_magnitude_alone():
    x = torch.tensor([[-2.0, 0.0, 0.5]])
    assert torch.equal(scores(x, feature_weights("teal", torch.randn(4, 3))), x.abs())


def test_cats_scores_the_activated_gate_by_magnitude_and_all_others_read_inputs():
    assert torch.equal(feature_weights("cats", _weight(), "down"), torch.ones(17))
    assert {name for name, row in CRITERIA.items() if row.reads == ACTIVATED_GATE} == {"cats"}
    assert {row.reads for row in CRITERIA.values()} == {INPUT, ACTIVATED_GATE}


def test_scores_are_float32_also_for_low_precision_activations():
    x = torch.tensor([0.30078125], dtype=torch.bfloat16)
    weights = scores(x, torch.tensor([1.001]))
    assert weights.dtype == torch.float32
    assert weights.item() == np.float32(0.30078125) * np.float32(1.001)


@pytest.mark.parametrize("criterion", sorted(set(CRITERIA) - {LEARNED}))
def test_feature_weights_never_carry_a_gradient_or_a_negative_factor(criterion):
    weights = feature_weights(criterion, _weight().requires_grad_(True), "k")
    assert not weights.requires_grad
    assert (weights >= 0).all() and weights.shape == (17,)


def test_learned_weights_are_no_formula_and_lie_on_the_model():
    assert {name for name, row in CRITERIA.items() if row.weights is None} == {LEARNED}
    with pytest.raises(ValueError, match="`learned` has no formula"):
        feature_weights(LEARNED, _weight())
    first = projections(random_model("llama").model)[0]
    with pytest.raises(UserError, match=r"must have its learned weights.*a profile set, which brings them"):
        projection_weights(LEARNED, first)


def test_an_unknown_criterion_lists_the_known_ones():
    with pytest.raises(UserError, match=r"one of cats, learned, teal, wina\b.*'winna'.*did you mean 'wina'"):
        feature_weights("winna", _weight())


def test_the_settings_know_exactly_the_criteria_that_exist():
    assert set(names.CRITERIA) == set(CRITERIA)
