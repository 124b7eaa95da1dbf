"""Greedy search that does not try every step in every round: lazy re-evaluation (Minoux, 1978).

What a step of projection p would add to the squared error, `E(levels + p)^2 - E(levels)^2`, changes slowly from round
to round and mostly grows, as masks do more harm to a block that is sparser. What it added when it was last tried
therefore says which steps are worth trying now:

    1. the step with the lowest known addition is tried;
    2. all whose older additions are within `SLACK` of the lowest one found in this round are tried, too;
    3. an addition that is more than `AGE` rounds old does not count as known.

The step taken is always the lowest of those tried at the present levels, and its error is never an old one. Where
additions only grow, as they would if projections did not interact, it is the step that the exact search takes. They do
interact, so now and then it is another one: what that costs, and what it saves, is in docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.allocation.greedy import Levels, Objective, checked, raised

SLACK = 0.1
"""Relative."""

AGE = 32


class Lazy:
    """A `greedy.Chooser`. One search, round after round."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._added: dict[int, float] = {}
        self._tried: dict[int, int] = {}
        self._round = 0

    def choose(self, levels: Levels, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """See `Chooser`."""
        self._round += 1
        fresh: dict[int, float] = {}
        while worth := self._worth_trying(open_projections, fresh):
            found = checked(self._objective.errors([raised(levels, p) for p in worth]))
            for projection, one in zip(worth, found, strict=True):
                fresh[projection] = one
                self._added[projection] = one**2 - error**2
                self._tried[projection] = self._round
        best = min(fresh, key=lambda projection: (fresh[projection], projection))
        return best, fresh[best]

    def _worth_trying(self, open_projections: Sequence[int], fresh: dict[int, float]) -> list[int]:
        known = {p: self._known(p) for p in open_projections}
        lowest = min(known[p] for p in fresh or open_projections)
        if not fresh:
            first = [p for p in open_projections if known[p] == lowest]
            return first if lowest == -math.inf else first[:1]
        return [p for p in open_projections if p not in fresh and known[p] <= lowest + SLACK * abs(lowest)]

    def _known(self, projection: int) -> float:
        if self._round - self._tried.get(projection, -AGE) >= AGE:
            return -math.inf
        return self._added[projection]
