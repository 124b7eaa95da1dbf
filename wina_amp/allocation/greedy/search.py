"""Block-wise greedy allocation, the search itself (TEAL, Algorithm 1; the same in WINA).

Starting dense, every round tries to take one more step on each projection of the block, keeps the step that leaves the
lowest error of the block's output, and repeats until the block is sparse enough. A step gates the same number of
weights whichever projection takes it, so the sparsity of projection p rises by

    delta_p = step * cost_first / cost_p,       cost = number of weights (from shapes)

The last step of a projection is cut so that it ends at sparsity 1 exactly. The path of all rounds serves every target:
between two rounds the allocation is interpolated, so that its cost-weighted mean IS the target (the originals take the
nearest round and miss it by up to half a step). Ties go to the projection that comes first.

Plain numbers; the error is computed by the objective (`wina_amp/allocation/greedy/block_error.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import weight_fractions

_ROUNDING = 1e-9
"""Sums of steps that should be 1 or the target miss it by float64 rounding only."""


Steps = tuple[int, ...]
"""Of every projection: how many steps it has taken."""


class Objective(Protocol):
    """The error of a block, given the steps that its projections have taken."""

    def errors(self, choices: Sequence[Steps]) -> list[float]:
        """The error of every choice. Consecutive calls ask for neighbouring choices, so results are worth keeping."""
        ...


class Chooser(Protocol):
    """The rule by which a round chooses the projection that takes the step."""

    def choose(self, taken: Steps, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """The projection, and the block's error after its step.

        Args:
            taken: steps before the round.
            error: the block's error before the round.
            open_projections: those that have a step left, in order; at least one.
        """
        ...


class Exact:
    """As published: the step of every projection is tried in every round."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def choose(self, taken: Steps, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """See `Chooser`."""
        errors = checked(self._objective.errors([stepped(taken, p) for p in open_projections]))
        best = int(np.argmin(errors))
        return open_projections[best], errors[best]


@dataclass(frozen=True)
class Path:
    """The block after every round, the dense one first.

    Attributes:
        sparsity: of every projection.
        mean: cost-weighted mean of `sparsity`, strictly rising from 0.
        error: that of the objective.
    """

    sparsity: Float[ndarray, "rounds projections"]
    mean: Float[ndarray, " rounds"]
    error: Float[ndarray, " rounds"]

    def to_lists(self) -> dict[str, Any]:
        """Plain lists for JSON; `from_lists` gives back the same numbers to the last bit."""
        return {name: getattr(self, name).tolist() for name in ("sparsity", "mean", "error")}

    @classmethod
    def from_lists(cls, lists: dict[str, Any]) -> Self:
        """The path that `to_lists` was called on."""
        return cls(*(np.asarray(lists[name], dtype=np.float64) for name in ("sparsity", "mean", "error")))

    def at(self, target: float) -> tuple[Float[ndarray, " projections"], float]:
        """Allocation and predicted error at a target, interpolated between the two rounds around it.

        Guarantee: the cost-weighted mean of the allocation is the target, up to float64 rounding; all are in [0, 1].

        Raises:
            ValueError: the target is outside the path.
        """
        if not 0 <= target <= self.mean[-1] + _ROUNDING:
            raise ValueError(f"the path reaches from 0 to {self.mean[-1]:.4f}; it has no allocation at {target}")
        sparsity = [np.interp(target, self.mean, column) for column in self.sparsity.T]
        return np.clip(sparsity, 0.0, 1.0), float(np.interp(target, self.mean, self.error))


def sparsity_grids(costs: Sequence[int], step: float) -> list[Float[ndarray, " steps"]]:
    """The sparsities every projection can take: 0, delta_p, 2 delta_p, ..., 1.

    Args:
        costs: weights of every projection.
        step: sparsity of the first projection's step, in (0, 1].
    """
    grids: list[Float[ndarray, " steps"]] = []
    for cost in costs:
        delta = step * costs[0] / cost
        grids.append(np.minimum(np.arange(math.ceil(1 / delta - _ROUNDING) + 1) * delta, 1.0))
    return grids


def search(
    grids: Sequence[Float[ndarray, " steps"]],
    costs: Sequence[int],
    stop: float,
    objective: Objective,
    chooser: Callable[[Objective], Chooser] = Exact,
) -> Path:
    """Run the greedy search until the cost-weighted mean sparsity is at least `stop`.

    Args:
        grids: from `sparsity_grids`.
        costs: weights of every projection.
        stop: the highest target, in [0, 1].
        objective: the error to keep low.
        chooser: made of the objective; `lazy.Lazy` tries fewer steps a round.

    Raises:
        ValueError: an error that is not a number.
    """
    fraction = weight_fractions(costs)
    rule = chooser(objective)
    taken = (0,) * len(grids)
    rounds = [_sparsity(grids, taken)]
    errors = checked(objective.errors([taken]))
    while fraction @ rounds[-1] < stop - _ROUNDING:
        open_projections = [p for p in range(len(grids)) if taken[p] + 1 < len(grids[p])]
        projection, error = rule.choose(taken, errors[-1], open_projections)
        taken = stepped(taken, projection)
        rounds.append(_sparsity(grids, taken))
        errors.append(error)
    sparsity = np.stack(rounds)
    return Path(sparsity, sparsity @ fraction, np.array(errors))


def stepped(taken: Steps, projection: int) -> Steps:
    """The steps taken after one more of a projection."""
    return (*taken[:projection], taken[projection] + 1, *taken[projection + 1 :])


def checked(errors: list[float]) -> list[float]:
    """The errors.

    Raises:
        ValueError: one is not a number.
    """
    if not all(math.isfinite(error) for error in errors):
        raise ValueError(f"block errors must be finite, got {errors}")
    return errors


def _sparsity(grids: Sequence[Float[ndarray, " steps"]], taken: Steps) -> Float[ndarray, " projections"]:
    return np.array([grid[steps] for grid, steps in zip(grids, taken, strict=True)])
