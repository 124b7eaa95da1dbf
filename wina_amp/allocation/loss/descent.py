"""Gradient descent on an allocation under a budget.

    minimise loss(s)   over   s_p = sigmoid(u_p + c),    with c such that   sum_p fraction_p s_p = target

fraction_p is the part of all weights that projection p has. The logits u are free, c is found by bisection at every
step, so every allocation on the way meets the budget and stays within (0, 1). Steps are Adam's (`adam.Moments`):
gradients of projections differ by orders of magnitude, and mini-batches make them noisy. The learning rate falls to
zero over the second half, and the result is the mean of the last `AVERAGED` of the steps, which takes out most of the
noise that is left.

Where the first allocation is a guess (equal sparsities), the budget of the first step is looser than the target and
tightens over the first half: equal sparsities at a high target have destroyed the model, and what its gradients say
there is of no use below (docs/log.md).

Considered and dropped: exchange moves, accepted on the loss of all texts. A sweep costs two losses a projection (448
for 32 blocks), where a gradient costs about four forward passes whatever the number of projections, and it learned the
texts it was accepted on (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.loss.adam import Moments

Allocation = Float[ndarray, " projections"]
LossGradients = Callable[[Allocation, int], Allocation]
"""(allocation, number of the step) -> derivative of the loss by every sparsity."""

LIMIT = 7.0
"""Logits stay within +-LIMIT (sparsities 0.1% to 99.9% before the shift): beyond, a gradient can no longer move
them."""

AVERAGED = 0.3
"""Fraction of the steps, the last ones, whose mean is the result."""

_TINY = 1e-12


@dataclass(frozen=True)
class State:
    """The state of a descent after `step` steps.

    Attributes:
        logits: u.
        moments: Adam's, of the gradients by the logits.
        total: sum of the allocations that are averaged.
        averaged: how many those are.
    """

    logits: Allocation
    moments: Moments
    total: Allocation
    averaged: int

    @property
    def step(self) -> int:
        """Steps done."""
        return self.moments.step

    def to_json(self) -> dict[str, Any]:
        """Plain lists, exact."""
        return {
            "logits": self.logits.tolist(),
            "moments": self.moments.to_json(),
            "total": self.total.tolist(),
            "averaged": self.averaged,
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        moments = Moments.from_json(stored["moments"])
        return cls(np.array(stored["logits"]), moments, np.array(stored["total"]), stored["averaged"])


def start(sparsity: Allocation) -> State:
    """The state before the first step."""
    return State(logits(sparsity), Moments.start(len(sparsity)), np.zeros_like(sparsity), 0)


def descend(
    state: State,
    fraction: Allocation,
    target: float,
    gradients: LossGradients,
    *,
    steps: int,
    rate: float,
    loosest: float | None = None,
) -> Iterator[State]:
    """Take the steps that are left; yields the state after every one.

    Args:
        state: from `start`, or an earlier run's last state.
        fraction: weights of every projection over those of all.
        target: cost-weighted mean sparsity, within (0, 1).
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity; deterministic.
        steps: of the whole descent.
        rate: learning rate; a logit moves by about this in a step, at most.
        loosest: the budget of the first step, which tightens to the target over the first half of the steps; without
            it all steps have the target's.

    Guarantee: the states depend on the arguments alone, so a run that goes on from a stored state ends where an
    uninterrupted one does.
    """
    while state.step < steps:
        budget_now = target if loosest is None else tightened(loosest, target, state.step, steps)
        sparsity = allocation(state.logits, fraction, budget_now)
        inner = sparsity * (1 - sparsity)
        gradient = gradients(sparsity, state.step) * inner
        budget = fraction * inner
        # c undoes a step along the gradient of the budget.
        gradient = gradient - (gradient @ budget) / max(budget @ budget, _TINY) * budget
        moments = state.moments.updated(gradient)
        moved = np.clip(state.logits - rate * falling(state.step, steps) * moments.direction(), -LIMIT, LIMIT)
        is_last = is_averaged(moments.step, steps)
        total = state.total + allocation(moved, fraction, target) if is_last else state.total
        state = State(moved, moments, total, state.averaged + is_last)
        yield state


def tightened(loosest: float, target: float, step: int, steps: int) -> float:
    """The budget at a step: `loosest` at the first one, the target from the middle on, rising evenly between."""
    return loosest + (target - loosest) * min(1.0, 2 * step / steps)


def falling(step: int, steps: int) -> float:
    """The fraction of the learning rate at a step: 1 in the first half, then falling linearly."""
    return min(1.0, 2 * (steps - step) / steps)


def is_averaged(done: int, steps: int) -> bool:
    """Whether the result averages over the state after `done` of `steps` steps."""
    return done > steps - max(1, round(AVERAGED * steps))


def result(state: State, fraction: Allocation, target: float) -> Allocation:
    """The allocation of a descent that has ended."""
    return allocation(logits(state.total / state.averaged), fraction, target)


def allocation(logits: Allocation, fraction: Allocation, target: float) -> Allocation:
    """The sparsities of these logits that meet the budget.

    Guarantee: `fraction @ result` is the target within 1e-9, for targets in (0, 1).
    """
    low, high = -2 * LIMIT - 40, 2 * LIMIT + 40
    for _ in range(80):
        middle = (low + high) / 2
        if fraction @ _sigmoid(logits + middle) < target:
            low = middle
        else:
            high = middle
    return _sigmoid(logits + (low + high) / 2)


def _sigmoid(x: Allocation) -> Allocation:
    return 1 / (1 + np.exp(-x))


def logits(sparsity: Allocation) -> Allocation:
    """log(s / (1 - s)), within +-LIMIT."""
    edge = float(_sigmoid(np.array(-LIMIT)))
    inside = np.clip(sparsity, edge, 1 - edge)
    return np.log(inside) - np.log1p(-inside)
