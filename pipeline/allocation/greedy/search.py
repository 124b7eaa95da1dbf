"""Block-wise greedy allocation, the search itself (TEAL, Algorithm 1; the same in WINA).

Starting dense, every round tries to take one more step on each projection of the block, keeps the step that leaves the
lowest error of the block's output, and repeats until the block is sparse enough. A step gates the same number of
weights whichever projection takes it, so the sparsity of projection p rises by

    delta_p = step * cost_first / cost_p,       cost = number of weights (from shapes)

The last step of a projection is cut so that it ends at sparsity 1 exactly. The path of all rounds serves every target:
between two rounds the allocation is interpolated, so that its cost-weighted mean IS the target (the originals take the
nearest round and miss it by up to half a step). Ties go to the projection that comes first.

Plain numbers; what the error is, and how it is computed, is the objective's business
(`pipeline/allocation/greedy/block_error.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_ROUNDING = 1e-9
"""Sums of steps that should be 1 or the target miss it by float64 rounding only."""


Levels = tuple[int, ...]
"""Of every projection: level n is the sparsity after n steps."""


class Objective(Protocol):
    """The error of a block at a choice of levels."""

    def errors(self, choices: Sequence[Levels]) -> list[float]:
        """The error of every choice. Consecutive calls ask for neighbouring choices, so results are worth keeping."""
        ...


class Chooser(Protocol):
    """How a round finds the projection that takes the step."""

    def choose(self, levels: Levels, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """The projection, and the block's error after its step.

        Args:
            levels: the block before the round.
            error: its error.
            open_projections: those that have a step left, in order; at least one.
        """
        ...


class Exact:
    """As published: the step of every projection is tried in every round."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def choose(self, levels: Levels, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """See `Chooser`."""
        found = checked(self._objective.errors([raised(levels, p) for p in open_projections]))
        best = int(np.argmin(found))
        return open_projections[best], found[best]


@dataclass(frozen=True)
class Path:
    """The block after every round, the dense one first.

    Attributes:
        sparsity: of every projection.
        mean: cost-weighted mean of `sparsity`, strictly rising from 0.
        error: what the objective says.
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


def ladders(costs: Sequence[int], step: float) -> list[Float[ndarray, " levels"]]:
    """The sparsities every projection can take: 0, delta_p, 2 delta_p, ..., 1.

    Args:
        costs: weights of every projection.
        step: sparsity of the first projection's step, in (0, 1].
    """
    found: list[Float[ndarray, " levels"]] = []
    for cost in costs:
        delta = step * costs[0] / cost
        found.append(np.minimum(np.arange(math.ceil(1 / delta - _ROUNDING) + 1) * delta, 1.0))
    return found


def search(
    steps: Sequence[Float[ndarray, " levels"]],
    costs: Sequence[int],
    stop: float,
    objective: Objective,
    chooser: Callable[[Objective], Chooser] = Exact,
) -> Path:
    """Run the greedy search until the cost-weighted mean sparsity is at least `stop`.

    Args:
        steps: from `ladders`.
        costs: weights of every projection.
        stop: the highest target, in [0, 1].
        objective: the error to keep low.
        chooser: made of the objective; `lazy.Lazy` tries fewer steps a round.

    Raises:
        ValueError: an error that is not a number.
    """
    fraction = np.asarray(costs, dtype=np.float64) / sum(costs)
    rule = chooser(objective)
    levels = (0,) * len(steps)
    rounds = [_sparsity(steps, levels)]
    errors = checked(objective.errors([levels]))
    while fraction @ rounds[-1] < stop - _ROUNDING:
        open_projections = [p for p in range(len(steps)) if levels[p] + 1 < len(steps[p])]
        projection, error = rule.choose(levels, errors[-1], open_projections)
        levels = raised(levels, projection)
        rounds.append(_sparsity(steps, levels))
        errors.append(error)
    sparsity = np.stack(rounds)
    return Path(sparsity, sparsity @ fraction, np.array(errors))


def raised(levels: Levels, projection: int) -> Levels:
    """The levels after one step of a projection."""
    return (*levels[:projection], levels[projection] + 1, *levels[projection + 1 :])


def checked(errors: list[float]) -> list[float]:
    """The errors.

    Raises:
        ValueError: one is not a number.
    """
    if not all(math.isfinite(error) for error in errors):
        raise ValueError(f"block errors must be finite, got {errors}")
    return errors


def _sparsity(steps: Sequence[Float[ndarray, " levels"]], levels: Levels) -> Float[ndarray, " projections"]:
    return np.array([ladder[level] for ladder, level in zip(steps, levels, strict=True)])
