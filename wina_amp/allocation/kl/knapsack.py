"""Spread one budget over all projections of a model, from a measured loss curve of each: the start of `kl` allocation.

With f_p(s) the loss when projection p alone has sparsity s, and c_p its number of weights, find

    min  sum_p f_p(s_p)     subject to     sum_p c_p s_p = target * sum_p c_p,     0 <= s_p <= 1

The losses of single projections do not add up when many are sparse together, so this is a start for a search on the
true loss (`wina_amp/allocation/loss/descent.py`), not an end; EvoPress (Sieberling et al., 2024) finds the same of
additive models.

Curves are made monotone and replaced by their lower convex hulls. For those the problem is solved exactly by taking
hull segments in the order of their slope per weight (the Lagrangian solution): no other allocation of the same budget
has a lower sum. The last segment taken is cut, so that the budget is met exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from wina_amp.allocation.calibration.cost import weight_fractions


@dataclass(frozen=True)
class Segment:
    """A straight piece of a hull: from `start` to `end` in sparsity, rising by `slope` per unit of the model's
    budget."""

    projection: int
    start: float
    end: float
    slope: float


def allocate(
    grid: Float[ndarray, " sparsities"],
    curves: Float[ndarray, "projections grid"],
    costs: Sequence[int],
    target: float,
) -> Float[ndarray, " projections"]:
    """The sparsity of every projection.

    Args:
        grid: sparsities at which the losses were measured, ascending from 0 to 1.
        curves: loss of every projection at every sparsity of the grid.
        costs: weights of every projection.
        target: cost-weighted mean sparsity, in [0, 1].

    Guarantee: the cost-weighted mean of the result is the target up to float64 rounding; the result minimises the sum
    of the hulls; raising the target lowers no projection's sparsity; ties go to the projection that comes first.

    Raises:
        ValueError: a target outside [0, 1], a grid that does not rise from 0 to 1, or a loss that is not a number.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"the target must be in [0, 1], got {target}")
    fraction = weight_fractions(costs)
    sparsity = np.zeros(len(fraction))
    left = target
    for segment in _by_slope(grid, curves, fraction):
        taken = min(segment.end - segment.start, left / fraction[segment.projection])
        sparsity[segment.projection] = segment.end if taken == segment.end - segment.start else segment.start + taken
        left -= taken * fraction[segment.projection]
        if left <= 0:
            break
    return np.clip(sparsity, 0.0, 1.0)


def lower_hull(
    grid: Float[ndarray, " sparsities"], losses: Float[ndarray, " grid"]
) -> tuple[Float[ndarray, " corners"], Float[ndarray, " corners"]]:
    """Corners of the largest convex function that lies nowhere above the monotone envelope of the points.

    The envelope (running maximum, at least 0) comes first: noise may make a loss fall with sparsity, and a hull that
    falls would be taken before everything else.
    """
    heights = np.maximum.accumulate(np.maximum(losses, 0.0))
    corners = [0]
    for point in range(1, len(grid)):
        while len(corners) > 1 and _is_above(corners[-2], corners[-1], point, grid, heights):
            corners.pop()
        corners.append(point)
    return grid[corners], heights[corners]


def _by_slope(
    grid: Float[ndarray, " sparsities"],
    curves: Float[ndarray, "projections grid"],
    fraction: Float[ndarray, " projections"],
) -> list[Segment]:
    if grid[0] != 0 or grid[-1] != 1 or not np.all(np.diff(grid) > 0):
        raise ValueError(f"the grid must rise from 0 to 1, got {grid.tolist()}")
    if not np.isfinite(curves).all():
        raise ValueError("losses must be finite")
    segments: list[Segment] = []
    for projection, losses in enumerate(curves):
        x, y = lower_hull(grid, losses)
        slopes = np.diff(y) / (np.diff(x) * fraction[projection])
        segments += [Segment(projection, float(x[i]), float(x[i + 1]), float(slope)) for i, slope in enumerate(slopes)]
    return sorted(segments, key=lambda segment: segment.slope)  # stable: segments of one hull stay in order


def _is_above(
    first: int, middle: int, last: int, grid: Float[ndarray, " grid"], heights: Float[ndarray, " grid"]
) -> bool:
    """Whether the middle point lies on or above the line from the first to the last."""
    rise = (heights[last] - heights[first]) * (grid[middle] - grid[first])
    return bool((heights[middle] - heights[first]) * (grid[last] - grid[first]) >= rise)
