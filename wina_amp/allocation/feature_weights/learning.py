"""Learned feature weights: the weights w of the scores |x_i| w_i, by gradient descent on the loss of the model.

    minimise  mean over targets of  loss(w, s(u, target))      over  log w  and  u,
    s(u, target) = sigmoid(u + c),  c such that the budget is the target        (`wina_amp/allocation/loss/descent.py`)

A column norm (WINA) says how much a feature moves the output of its matrix, whatever becomes of that output. Weights
that keep the predictions differ from it: on the reference model by a fifth (standard deviation of the logarithm), and
that gains more than sparsities alone still can (docs/log.md). Weights cost nothing at run time, because a
score has one factor for every feature anyway. One vector of weights serves all targets; learned at one target alone it
is no better there (docs/log.md). Logits u are shared by the targets, too, and exist only so that weights are learned
under a sensible allocation: they begin at the same sparsity for every projection and descend alone first, then together
with the weights. `kl` allocation starts afresh, with the learned weights.

Steps of the weights are Adam's with one second moment for all features of a projection (`adam.Moments`). `decay` pulls
the weights back to the norms they begin at. Both are against noise: the embedded run has seven weights for every train
text, a large model thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.loss import descent
from wina_amp.allocation.loss.adam import Moments

Allocation = Float[ndarray, " projections"]
LogWeights = Float[ndarray, " features"]
"""log of weight over norm, features of all projections concatenated."""

LossGradients = Callable[[Allocation, LogWeights, int], tuple[Allocation, LogWeights]]
"""(allocation, log weights, number of the step) -> derivatives of the loss by every sparsity and every log weight."""

WARM_RATE = 0.15
"""Learning rate of the logits in the first descent, which begins far away."""


@dataclass(frozen=True)
class Plan:
    """Settings of the descent.

    Attributes:
        targets: model-wide sparsities, one a step, cyclically.
        warm_steps: of the logits alone.
        steps: of logits and weights.
        rate: learning rate of the logits in the latter.
        weight_rate: learning rate of the log weights.
        decay: fraction of `weight_rate` by which every step pulls a log weight back to 0.
    """

    targets: Sequence[float]
    warm_steps: int
    steps: int
    rate: float
    weight_rate: float
    decay: float

    @property
    def all_steps(self) -> int:
        """Of both kinds together."""
        return self.warm_steps + self.steps


@dataclass(frozen=True)
class State:
    """The state between two steps.

    Attributes:
        warm: the descent of the logits alone.
        joint: that of the logits beside the weights.
        log_weights: of every feature.
        moments: Adam's, of the gradients by them; one second moment for every projection.
        total: sum of the log weights that are averaged.
    """

    warm: descent.State
    joint: descent.State | None
    log_weights: LogWeights
    moments: Moments
    total: LogWeights

    @property
    def step(self) -> int:
        """Steps done, of both kinds."""
        return self.warm.step + (0 if self.joint is None else self.joint.step)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, exact."""
        return {
            "warm": self.warm.to_json(),
            "joint": None if self.joint is None else self.joint.to_json(),
            "log_weights": self.log_weights.tolist(),
            "moments": self.moments.to_json(),
            "total": self.total.tolist(),
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            descent.State.from_json(stored["warm"]),
            None if stored["joint"] is None else descent.State.from_json(stored["joint"]),
            np.array(stored["log_weights"]),
            Moments.from_json(stored["moments"]),
            np.array(stored["total"]),
        )


def start(features: Sequence[int], targets: Sequence[float]) -> State:
    """The state before the first step: norms as they are, the same sparsity for every projection."""
    norms = np.zeros(sum(features))
    uniform = np.full(len(features), float(np.mean(targets)))
    return State(descent.start(uniform), None, norms, Moments.start(len(norms), len(features)), norms)


def learn(
    state: State,
    fraction: Allocation,
    features: Sequence[int],
    gradients: LossGradients,
    plan: Plan,
    *,
    warm_gradients: descent.LossGradients,
) -> Iterator[State]:
    """Take the steps that are left; yields the state after every one.

    Args:
        state: from `start`, or an earlier run's last state.
        fraction: weights of every projection's matrix over those of all.
        features: how many every projection has.
        gradients: derivatives of the loss; deterministic. Those by log weights are taken with sparsities held, so along
            a common factor of a projection's weights they are 0.
        plan: settings.
        warm_gradients: derivatives by sparsities alone, with the norms as weights.

    Guarantee: the states depend on the arguments alone, so a run that goes on from a stored state ends where an
    uninterrupted one does. Every allocation that `gradients` is asked for meets one of the targets.
    """
    while state.warm.step < plan.warm_steps:
        target = plan.targets[state.warm.step % len(plan.targets)]
        warm = next(
            descent.descend(state.warm, fraction, target, warm_gradients, steps=plan.warm_steps, rate=WARM_RATE)
        )
        state = replace(state, warm=warm)
        yield state
    while state.joint is None or state.joint.step < plan.steps:
        state = _together(state, fraction, features, gradients, plan)
        yield state


def _together(
    state: State, fraction: Allocation, features: Sequence[int], gradients: LossGradients, plan: Plan
) -> State:
    """One step of logits and weights."""
    middle = float(np.mean(plan.targets))
    joint = state.joint or descent.start(descent.allocation(state.warm.logits, fraction, middle))
    by_weights: list[LogWeights] = []

    def both(sparsity: Allocation, step: int) -> Allocation:
        by_sparsity, by_weight = gradients(sparsity, state.log_weights, plan.warm_steps + step)
        by_weights.append(by_weight)
        return by_sparsity

    target = plan.targets[joint.step % len(plan.targets)]
    moved = next(descent.descend(joint, fraction, target, both, steps=plan.steps, rate=plan.rate))
    owners = np.repeat(np.arange(len(features)), features)
    moments = state.moments.updated(by_weights[0], owners)
    rate = plan.weight_rate * descent.falling(joint.step, plan.steps)
    log_weights = state.log_weights - rate * (moments.direction(owners) + plan.decay * state.log_weights)
    total = state.total + log_weights if descent.is_averaged(moved.step, plan.steps) else state.total
    return State(state.warm, moved, log_weights, moments, total)


def result(state: State) -> LogWeights:
    """The log weights of a run that has ended: the mean of the last steps."""
    assert state.joint is not None
    return state.total / state.joint.averaged
