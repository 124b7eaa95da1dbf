"""`kl` allocation of one group: every target's budget is one budget for the whole model, spent where predictions change
least.

1. The loss (`pipeline/allocation/divergence.py`) is measured with one projection masked at a time, at every level.
2. Those curves give an allocation for every target (`pipeline/allocation/knapsack.py`).
3. Each is improved on the loss itself (`pipeline/allocation/exchange.py`), as far as `evaluations` allow.

Block-wise greedy gives every block the same target and measures the error of the block's output. What that leaves
unused is large: on the reference model `down` of the last blocks can lose 95% of its inputs at no cost, and anything
that the first block loses shows at once (docs/log.md).

Everything that was measured goes through a store, so that an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.allocation.exchange import State, search, start
from pipeline.allocation.knapsack import allocate

LEVELS = (0.0, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Sparsities at which the loss of a single projection is measured; between them curves are straight."""

SMALLEST_STEP = 1 / 8
"""The search ends when its portion has been halved below this share of the first one."""


class Objective(Protocol):
    """What is allocated for; `divergence.Divergence` is one."""

    @property
    def costs(self) -> list[int]:
        """Weights of every projection."""
        ...

    def loss(self, sparsity: Float[ndarray, " projections"]) -> float:
        """The loss of an allocation."""
        ...

    def rebase(self, sparsity: Float[ndarray, " projections"]) -> None:
        """Told which allocation the next ones are like."""
        ...


class Store(Protocol):
    """Keeps JSON values by name, over interruptions."""

    def get(self, name: str) -> Any:
        """The value, or None."""
        ...

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        ...


@dataclass(frozen=True)
class Found:
    """The allocation of one target.

    Attributes:
        target: cost-weighted mean of `sparsity`.
        sparsity: of every projection.
        loss: of it, on the calibration texts.
        evaluations: losses computed for it beyond the curves.
    """

    target: float
    sparsity: Float[ndarray, " projections"]
    loss: float
    evaluations: int


def kl(
    objective: Objective,
    targets: Sequence[float],
    store: Store,
    *,
    step: float,
    evaluations: int,
    advance: Callable[[int], object] = lambda _losses: None,
) -> Iterator[Found]:
    """Allocate one group at every target, in ascending order.

    Args:
        objective: the loss, and what projections cost.
        targets: cost-weighted mean sparsities, in [0, 1].
        store: empty, or what an earlier run with the same arguments has left.
        step: sparsity of the largest projection that the search's first moves shift.
        evaluations: most losses to compute for each target; 1 takes the knapsack's allocation as it is.
        advance: called with the number of losses computed since the last call.

    Guarantee: every allocation meets its budget up to float64 rounding, and its loss is at most that of the knapsack's
    allocation; the same arguments give the same allocations, interrupted or not.
    """
    measured = curves(objective, store, advance)
    share = np.array(objective.costs, dtype=np.float64) / sum(objective.costs)
    portion = step * float(share.max())
    for target in sorted(targets):
        name = f"target-{target:g}"
        kept = store.get(name)
        if kept is None:
            state = start(allocate(np.array(LEVELS), measured, objective.costs, target), objective.loss, portion)
            advance(1)
            store.put(name, state.to_json())
        else:
            state = State.from_json(kept)
        if state.evaluations < evaluations:
            sweeps = search(
                state,
                share,
                objective.loss,
                evaluations=evaluations,
                smallest_portion=portion * SMALLEST_STEP,
                rebase=objective.rebase,
            )
            for following in sweeps:
                advance(following.evaluations - state.evaluations)
                state = following
                store.put(name, state.to_json())
        yield Found(target, np.array(state.sparsity), state.loss, state.evaluations)


def most_losses(projections: int, targets: int, evaluations: int) -> int:
    """Losses that `kl` computes if every search uses its evaluations up; the last sweep may pass them."""
    return projections * (len(LEVELS) - 1) + targets * evaluations


def curves(
    objective: Objective, store: Store, advance: Callable[[int], object]
) -> Float[ndarray, "projections levels"]:
    """The loss with one projection masked, for every projection and every level; kept projection by projection."""
    dense = np.zeros(len(objective.costs))
    objective.rebase(dense)
    rows: list[list[float]] = []
    for projection in range(len(dense)):
        name = f"curve-{projection:04d}"
        row = store.get(name)
        if row is None:
            row = [0.0]
            for level in LEVELS[1:]:
                alone = dense.copy()
                alone[projection] = level
                row.append(objective.loss(alone))
            advance(len(row) - 1)
            store.put(name, row)
        rows.append(row)
    return np.array(rows)
