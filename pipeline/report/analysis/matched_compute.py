"""Matched compute: the FLOP savings at which methods are compared.

The saving of a method at a target is the mean over samples of 1 - FLOPs / dense FLOPs. Methods meet equal targets with
unequal savings, so a comparison reads its methods at one saving per target: the smallest that any of ITS methods has
there. No method is extrapolated, and no method outside the comparison matters. (With savings common to all methods, one
router that costs 12% of the dense FLOPs kept every comparison away from the three sparsest targets and reversed a
verdict.) Means over different savings are not on one scale, so every number is shown with its own.

The method that saves least at a target is read at a measured point, the others by linear interpolation between two of
theirs. Where accuracy falls ever faster, that line lies below the truth, which favours the method that saves least (and
the reverse where the fall slows down): little where savings nearly agree, more for a costly router.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler
from pipeline.statistics.matched_compute import Curve, curve_of, score_at

Savings = tuple[float | None, ...]
"""A saving for every target of the plan; None where one of the methods has no result, or saves nothing."""


def matched_savings(plan: Plan, results: Mapping[str, Outcome], methods: Sequence[Method]) -> Savings | None:
    """The smallest saving of any of `methods` at every target of the plan; None if there is none at any target."""
    savings = [_savings(results[method.name]) for method in methods]
    least = [min(saving.get(target, 0.0) for saving in savings) for target in plan.targets]
    return tuple(saving if saving > 0 else None for saving in least) if max(least) > 0 else None


def saving_curve(dense: Outcome, outcome: Outcome) -> Curve:
    """Scores against the fraction of dense FLOPs that was saved, the dense model first.

    Raises:
        ValueError: the method saves nothing at any target; such a method has no matched savings either.
    """
    return curve_of(dense.score[0], outcome.score, 1 - outcome.compute)


class Reader:
    """Mean scores of methods at savings: the estimate first, then every bootstrap replicate; without draws the estimate
    alone. A method is read once at a saving.
    """

    def __init__(self, plan: Plan, results: Mapping[str, Outcome], draws: Resampler | None = None) -> None:
        self._dense, self._results = results[plan.dense.name], results
        samples = self._dense.score.shape[1]
        self._weights = np.full((1, samples), 1 / samples) if draws is None else draws.weights
        self._known: dict[tuple[str, float], np.ndarray] = {}

    def read(self, method: Method, saving: float) -> Float[np.ndarray, " replicates_and_one"]:
        """Mean score of `method` where it saves `saving`, one of its matched savings."""
        key = method.name, saving
        if key not in self._known:
            curve = saving_curve(self._dense, self._results[method.name])
            self._known[key] = score_at(curve, saving, self._weights)
        return self._known[key]

    def gaps(self, method: Method, reference: Method, savings: Savings) -> list[np.ndarray | None]:
        """`method` minus `reference` at every saving, None where there is none."""
        return [None if at is None else self.read(method, at) - self.read(reference, at) for at in savings]

    def mean_gap(self, method: Method, reference: Method, savings: Savings) -> Float[np.ndarray, " replicates_and_one"]:
        """The mean of `gaps` over the savings that there are, at least one."""
        return np.mean([gap for gap in self.gaps(method, reference, savings) if gap is not None], axis=0)


def _savings(outcome: Outcome) -> dict[float, float]:
    means = (1 - outcome.compute).mean(axis=1)
    return dict(zip(outcome.targets.tolist(), means.tolist(), strict=True))
