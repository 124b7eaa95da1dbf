"""Gradient descent on an allocation under a budget.

    minimise loss(s)   over   s_p = sigmoid(u_p + c),    with c such that   sum_p share_p s_p = target

The logits u are free, c is found by bisection at every step, so every allocation on the way meets the budget and stays
within (0, 1): the form of an occupation under a fixed total (Fermi-Dirac), which is what a greedy knapsack converges
to when sensitivities are exponential. Steps are Adam's (Kingma & Ba 2014): gradients of projections differ by orders of
magnitude, and mini-batches make them noisy. The rate falls to zero over the second half, and the result is the mean of
the last `AVERAGED` share of the steps, which takes most of what noise is left out of it.

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

Allocation = Float[ndarray, " projections"]
LossGradients = Callable[[Allocation, int], Allocation]
"""(allocation, number of the step) -> derivative of the loss by every sparsity."""

LIMIT = 7.0
"""Logits stay within +-LIMIT (sparsities 0.1% to 99.9% before the shift): beyond, a gradient can no longer move
them."""

FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.98
"""Decay of Adam's moments: of the second faster than usual, for runs of 30 to 200 steps."""

AVERAGED = 0.3

_TINY = 1e-12


@dataclass(frozen=True)
class State:
    """Where a descent stands after `step` steps.

    Attributes:
        step: steps done.
        logits: u.
        first: Adam's first moment.
        second: Adam's second moment.
        total: sum of the allocations that are averaged.
        averaged: how many those are.
    """

    step: int
    logits: Allocation
    first: Allocation
    second: Allocation
    total: Allocation
    averaged: int

    def to_json(self) -> dict[str, Any]:
        """Plain lists, exact."""
        arrays = {name: getattr(self, name).tolist() for name in ("logits", "first", "second", "total")}
        return {"step": self.step, "averaged": self.averaged, **arrays}

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        arrays = {name: np.array(kept[name]) for name in ("logits", "first", "second", "total")}
        return cls(step=kept["step"], averaged=kept["averaged"], **arrays)


def start(sparsity: Allocation) -> State:
    """The state before the first step."""
    zero = np.zeros_like(sparsity)
    return State(0, logits(sparsity), zero, zero, zero, 0)


def descend(
    state: State,
    fraction: Allocation,
    target: float,
    gradients: LossGradients,
    *,
    steps: int,
    rate: float,
) -> Iterator[State]:
    """Take the steps that are left; yields the state after every one.

    Args:
        state: from `start`, or an earlier run's last state.
        share: weights of every projection over those of all.
        target: cost-weighted mean sparsity, within (0, 1).
        gradients: (allocation, number of the step) -> derivative of the loss by every sparsity; deterministic.
        steps: of the whole descent.
        rate: how far a logit moves in a step, at most about.

    Guarantee: the states depend on the arguments alone, so a run that goes on from a stored state ends where an
    uninterrupted one does.
    """
    while state.step < steps:
        sparsity = allocation(state.logits, fraction, target)
        inner = sparsity * (1 - sparsity)
        gradient = gradients(sparsity, state.step) * inner
        budget = fraction * inner
        gradient = (
            gradient - (gradient @ budget) / max(budget @ budget, _TINY) * budget
        )  # c undoes what lies along the budget
        first = FIRST_MOMENT * state.first + (1 - FIRST_MOMENT) * gradient
        second = SECOND_MOMENT * state.second + (1 - SECOND_MOMENT) * gradient**2
        done = state.step + 1
        move = (first / (1 - FIRST_MOMENT**done)) / (np.sqrt(second / (1 - SECOND_MOMENT**done)) + _TINY)
        moved = np.clip(state.logits - rate * falling(state.step, steps) * move, -LIMIT, LIMIT)
        is_last = is_averaged(done, steps)
        total = state.total + allocation(moved, fraction, target) if is_last else state.total
        state = State(done, moved, first, second, total, state.averaged + is_last)
        yield state


def falling(step: int, steps: int) -> float:
    """The share of the rate that is left after `step` of `steps` steps: all in the first half, then less and less."""
    return min(1.0, 2 * (steps - step) / steps)


def is_averaged(done: int, steps: int) -> bool:
    """Whether what `done` of `steps` steps have led to is among what the result is the mean of."""
    return done > steps - max(1, round(AVERAGED * steps))


def result(state: State, fraction: Allocation, target: float) -> Allocation:
    """The allocation of a descent that has ended."""
    return allocation(logits(state.total / state.averaged), fraction, target)


def allocation(logits: Allocation, fraction: Allocation, target: float) -> Allocation:
    """The sparsities of these logits that meet the budget.

    Guarantee: `share @ result` is the target within 1e-9, for targets in (0, 1).
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
