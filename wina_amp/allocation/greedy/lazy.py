"""Greedy search that does not try every step in every round: lazy re-evaluation (Minoux, 1978).

The addition of a step of projection p to the squared error, `E(taken + p)^2 - E(taken)^2`, changes slowly from round to
round and mostly grows, as masks do more harm to a block that is sparser. The addition when a step was last tried
therefore tells which steps are worth trying now:

    1. steps whose addition is not known, or known from more than `AGE` rounds ago, are tried;
    2. the others are tried from the lowest known addition upwards, as long as that is not above the lowest one found in
       this round by more than `SLACK`.

The step taken is always the lowest of those tried in this round, and its error is never an old one. Where
additions only grow, as they would if projections did not interact, it is the step that the exact search takes. They do
interact, so now and then it is another step: cost and savings are in docs/performance.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from wina_amp.allocation.greedy.search import Objective, Steps, checked, stepped

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

    def choose(self, taken: Steps, error: float, open_projections: Sequence[int]) -> tuple[int, float]:
        """See `Chooser`."""
        self._round += 1
        fresh: dict[int, float] = {}
        worth = [p for p in open_projections if self._known(p) == -math.inf]
        while worth := worth or self._next(open_projections, fresh):
            errors = checked(self._objective.errors([stepped(taken, p) for p in worth]))
            for projection, after in zip(worth, errors, strict=True):
                fresh[projection] = after
                self._added[projection] = after**2 - error**2
                self._tried[projection] = self._round
            worth = []
        best = min(fresh, key=lambda projection: (fresh[projection], projection))
        return best, fresh[best]

    def _next(self, open_projections: Sequence[int], fresh: dict[int, float]) -> list[int]:
        """The step with the lowest addition of those not tried in this round, if it is low enough."""
        old = [p for p in open_projections if p not in fresh]
        if not old:
            return []
        candidate = min(old, key=self._known)
        lowest = min((self._known(p) for p in fresh), default=math.inf)
        return [candidate] if self._known(candidate) <= lowest + SLACK * abs(lowest) else []

    def _known(self, projection: int) -> float:
        if self._round - self._tried.get(projection, -AGE) >= AGE:
            return -math.inf
        return self._added[projection]
