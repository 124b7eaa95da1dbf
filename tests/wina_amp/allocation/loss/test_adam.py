"""`wina_amp.allocation.loss.adam`: the Adam of torch, one scale for a group of parameters, exact JSON."""

from __future__ import annotations

import json

import numpy as np
import torch

from wina_amp.allocation.loss.adam import FIRST_MOMENT, SECOND_MOMENT, Moments

STEPS, RATE = 20, 0.1
GRADIENTS = np.random.default_rng(0).normal(0, [1.0, 1e-3, 5.0, 0.2], (STEPS, 4))
ROUNDING = 1e-9
"""Float64 sums of 20 steps in another order."""


def _parameters(owners=None, groups=None) -> np.ndarray:
    moments, parameters = Moments.start(4, groups), np.zeros(4)
    for gradient in GRADIENTS:
        moments = moments.updated(gradient, owners)
        parameters = parameters - RATE * moments.direction(owners)
    return parameters


def test_with_a_scale_for_every_parameter_it_is_the_adam_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=RATE, betas=(FIRST_MOMENT, SECOND_MOMENT), eps=1e-12)
    for gradient in GRADIENTS:
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    np.testing.assert_allclose(_parameters(), parameter.detach().numpy(), rtol=ROUNDING)


def test_a_group_of_one_parameter_is_a_parameter_and_parameters_of_a_group_share_their_scale():
    np.testing.assert_allclose(_parameters(np.arange(4), 4), _parameters(), rtol=ROUNDING)
    moments = Moments.start(4, 2).updated(np.array([3.0, 1e-6, 0.5, -0.5]), np.array([0, 0, 1, 1]))
    expected = [np.sqrt(2), 1e-6 * np.sqrt(2) / 3, 1, -1]
    np.testing.assert_allclose(moments.direction(np.array([0, 0, 1, 1])), expected, rtol=1e-6)


def test_moments_survive_json_to_the_last_bit():
    moments = Moments.start(4).updated(GRADIENTS[0]).updated(GRADIENTS[1])
    again = Moments.from_json(json.loads(json.dumps(moments.to_json())))
    assert again.step == 2 and np.array_equal(again.direction(), moments.direction())
    assert np.array_equal(again.updated(GRADIENTS[2]).direction(), moments.updated(GRADIENTS[2]).direction())
