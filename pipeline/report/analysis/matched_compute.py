"""At which compute methods are compared: levels that belong to the methods that are compared, and to nobody else.

A level is a saving, the mean over samples of 1 - FLOPs / dense FLOPs. Methods hit equal targets with unequal savings,
so a comparison has one level per target: the smallest saving that any of ITS methods has there. All of them can be read
at it, nobody is extrapolated, and the sparsest target is looked at whatever else was evaluated. (Levels were once
common to all methods. One router that costs 12% of the dense FLOPs then kept every other comparison away from the three
sparsest targets, and turned a verdict round.)

Who is in a comparison: the two methods of a pair; all methods that are put in one order
(`pipeline/report/analysis/ranking.py`); a grouped method, its pooled one and the draws of random groups it is held
against (`pipeline/report/analysis/refit_variance.py`). Numbers read at one set of levels are on one scale. Numbers of
two comparisons are as comparable as their levels are alike, so every number is shown with its levels.

The method that saves least at a target is read at a measured point, the others between two of theirs, on a straight
line. Where accuracy falls faster and faster, that line lies below the truth, which favours the one that saves least
(and the other way round where the fall levels off): little where savings nearly agree, more for a costly router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler
from pipeline.statistics.matched_compute import Curve, score_at

Levels = tuple[float | None, ...]
"""A saving for every target of the plan; None where one of the methods has no result, or saves nothing."""

ALIKE = 0.01
"""Levels that are closer, in shares of the dense FLOPs, are shown as one: targets are met within about that much."""


def levels(plan: Plan, results: Mapping[str, Outcome], methods: Sequence[Method]) -> Levels:
    """The smallest saving of any of `methods` at every target of the plan."""
    found = [_savings(results[method.name]) for method in methods]
    least = [min(saving.get(target, 0.0) for saving in found) for target in plan.targets]
    return tuple(level if level > 0 else None for level in least)


def are_alike(first: Levels, second: Levels) -> bool:
    """Whether two comparisons are read at nearly the same levels, so that their means are on one scale."""
    return all(
        one == other or (one is not None and other is not None and abs(one - other) < ALIKE)
        for one, other in zip(first, second, strict=True)
    )


def saving_curve(dense: Outcome, outcome: Outcome) -> Curve:
    """Scores against the share of dense FLOPs that was saved, dense first.

    Raises:
        ValueError: the method saves nothing at any target; such a method has no level either.
    """
    score, saving = [dense.score[0]], [np.zeros_like(dense.score[0])]
    for row, compute in zip(outcome.score, outcome.compute, strict=True):
        if (1 - compute).mean() > saving[-1].mean():  # a target that saves no more than the one before adds no point
            score.append(row)
            saving.append(1 - compute)
    return Curve(np.array(score), np.array(saving))


class Reader:
    """Reads mean scores at levels, the estimate first and then every replicate; a method is read once at a level."""

    def __init__(self, plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> None:
        self.dense, self.results, self.draws = results[plan.dense.name], results, draws
        self._known: dict[tuple[str, float], np.ndarray] = {}

    def read(self, method: Method, level: float) -> Float[np.ndarray, " replicates_and_one"]:
        """Mean score of `method` where it saves `level`, one of its `levels`."""
        key = method.name, level
        if key not in self._known:
            curve = saving_curve(self.dense, self.results[method.name])
            self._known[key] = score_at(curve, level, self.draws.weights)
        return self._known[key]

    def gaps(self, method: Method, reference: Method, at: Levels) -> list[np.ndarray | None]:
        """`method` minus `reference` at every level, None where there is no level."""
        return [None if level is None else self.read(method, level) - self.read(reference, level) for level in at]


def plain_reader(plan: Plan, results: Mapping[str, Outcome]) -> Reader:
    """Reads estimates alone, for numbers that get no interval of their own."""
    samples = results[plan.dense.name].score.shape[1]
    return Reader(plan, results, Resampler(np.full((1, samples), 1 / samples), plan.confidence))


def mean_gap(gaps: Sequence[np.ndarray | None]) -> Float[np.ndarray, " replicates_and_one"]:
    """The mean over the levels that there are, at least one."""
    return np.mean([gap for gap in gaps if gap is not None], axis=0)


def _savings(outcome: Outcome) -> dict[float, float]:
    means = (1 - outcome.compute).mean(axis=1)
    return dict(zip(outcome.targets.tolist(), means.tolist(), strict=True))
