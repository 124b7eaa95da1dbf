"""`wina_amp.allocation.feature_weights.learning`: a known optimum found, budgets met, norms kept where nothing pulls,
interruptions unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from wina_amp.allocation.feature_weights.learning import Plan, State, learn, result, start
from wina_amp.allocation.loss.descent import allocation

FRACTION = np.array([0.25, 0.5, 0.25])
FEATURES = [3, 4, 2]
WANTED = np.array([0.3, -0.3, 0.0, 0.2, -0.2, 0.1, -0.1, 0.4, -0.4])
"""Log weights that the loss is lowest at."""
PRICE = np.array([0.5, 1.0, 2.0])
PLAN = Plan(targets=(0.4, 0.6), warm_steps=20, steps=300, rate=0.05, weight_rate=0.02, decay=0.0)
BUDGET = 1e-9


def _together(sparsity, log_weights, _step):
    """Of sum fraction * price * s^2 / 2 + |z - wanted|^2 / 2."""
    return FRACTION * PRICE * sparsity, log_weights - WANTED


def _warm(sparsity, _step):
    return FRACTION * PRICE * sparsity


def _run(plan=PLAN, state=None, together=_together, warm=_warm):
    state = start(FEATURES, plan.targets) if state is None else state
    return list(learn(state, FRACTION, FEATURES, together, plan, warm_gradients=warm))


def test_the_weights_end_where_the_loss_is_lowest():
    states = _run()
    assert len(states) == PLAN.warm_steps + PLAN.steps
    np.testing.assert_allclose(result(states[-1]), WANTED, atol=0.02)  # about a step of the last third


def test_decay_keeps_weights_nearer_to_the_norms():
    pulled = result(_run(replace(PLAN, decay=1.0))[-1])
    assert (np.abs(pulled) <= np.abs(result(_run()[-1])) + 1e-3).all() and np.abs(pulled).sum() < np.abs(WANTED).sum()


def test_features_share_a_scale_within_a_projection_and_not_beyond():
    def steep(sparsity, log_weights, _step):
        gradient = np.array([1.0, 1e-6, 0, 1e-9, 0, 0, 0, 5.0, -5.0])
        return FRACTION * PRICE * sparsity, gradient

    moved = -_run(replace(PLAN, steps=1), together=steep)[-1].log_weights
    unit = PLAN.weight_rate
    expected = unit * np.array([np.sqrt(3), 1e-6 * np.sqrt(3), 0, 2, 0, 0, 0, 1, -1])
    np.testing.assert_allclose(moved, expected, rtol=2e-3)  # the scale has a floor of 1e-12


def test_targets_alternate_and_are_met_and_weights_rest_while_the_logits_warm_up():
    seen, warm = [], []

    def both(sparsity, log_weights, step):
        seen.append((step, FRACTION @ sparsity, log_weights))
        return _together(sparsity, log_weights, step)

    def alone(sparsity, step):
        warm.append((step, FRACTION @ sparsity))
        return _warm(sparsity, step)

    _run(replace(PLAN, warm_steps=4, steps=6), together=both, warm=alone)
    assert [step for step, _ in warm] == [0, 1, 2, 3] and [step for step, _, _ in seen] == [4, 5, 6, 7, 8, 9]
    for step, (_, budget, *_rest) in enumerate([*warm, *seen]):
        assert budget == pytest.approx(PLAN.targets[step % 2], abs=BUDGET)
    assert (seen[0][2] == 0).all() and (seen[1][2] != 0).any()


def test_the_logits_go_on_from_where_they_warmed_up():
    states = _run(replace(PLAN, warm_steps=40, steps=2))
    warm, first = states[39].warm.logits, states[40].joint.logits
    before = allocation(warm, FRACTION, 0.5)
    np.testing.assert_allclose(allocation(first, FRACTION, 0.5), before, atol=0.05)
    assert np.ptp(before) > 0.1


@pytest.mark.parametrize("stopped", [1, 20, 21, 111, 319])
def test_an_interrupted_run_ends_where_a_whole_one_does(stopped: int):
    whole = _run()
    stored = State.from_json(json.loads(json.dumps(whole[stopped - 1].to_json())))
    assert stored.step == stopped
    resumed = _run(state=stored)
    assert len(resumed) == len(whole) - stopped
    assert np.array_equal(result(resumed[-1]), result(whole[-1]))


def test_no_warm_steps_are_fine():
    assert len(_run(replace(PLAN, warm_steps=0, steps=3))) == 3
