"""Refit variance: how much the gains of two fits differ by chance, estimated from draws of random groups.

Every interval of the report resamples samples, some resample tasks, none repeats the FITS: a profile set was fitted
once. Random groups of the same sizes carry no information, so independent draws of them
(`pipeline.grouping.schemes.RANDOM_SCHEMES`), each fitted anew, differ by grouping and fitting alone. The standard
deviation between their gains over the pooled method is the scale. (How each draw's answers fall on these test samples
is a part of it, so it is rather too large; what learned groups would gain in another fit was not measured.)

A gain is beyond refit variance where one more draw is not expected to reach it: with n draws of mean m and standard
deviation s, where `gain > m + t s sqrt(1 + 1/n)`, t the quantile of Student's distribution with n - 1 degrees of
freedom at (1 + confidence) / 2. That assumes normal draws, and is strict with few: 3 of them need 5.0 s, 5 need 3.0.
With one draw s is not known.

The method, the pooled reference and the draws are all read at savings matched between them
(`pipeline/report/analysis/matched_compute.py`), because refit variance grows with sparsity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline.report.analysis.configurations import Configuration, configurations
from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Reader, matched_savings
from pipeline.report.analysis.plan import ASSIGNED, Method, Plan
from pipeline.report.analysis.resampling import ROUNDING

FEWEST_DRAWS = 2
"""Draws below which there is no standard deviation."""


@dataclass(frozen=True)
class Scale:
    """A gain and the gains of the draws, as fractions of samples, all over the same reference at the same savings."""

    gain: float
    draws: tuple[float, ...]

    @property
    def deviation(self) -> float | None:
        """Standard deviation between draws (n - 1 in the denominator); None for fewer than `FEWEST_DRAWS`."""
        if len(self.draws) < FEWEST_DRAWS:
            return None
        return round(float(np.std(self.draws, ddof=1)), ROUNDING)  # 0 for equal gains whatever their last bits

    @property
    def times(self) -> float | None:
        """The gain in standard deviations; None where that is not known or 0."""
        return self.gain / self.deviation if self.deviation else None

    @property
    def excess(self) -> float | None:
        """By how many standard deviations the gain exceeds the draws' mean; None where that is not known or 0."""
        return (self.gain - float(np.mean(self.draws))) / self.deviation if self.deviation else None

    def is_beyond(self, confidence: float) -> bool | None:
        """Whether one more draw is not expected to gain as much; None where the deviation is not known."""
        if self.deviation is None:
            return None
        if self.excess is None:  # draws that gain exactly the same
            return self.gain > self.draws[0]
        return self.excess > needed(len(self.draws), confidence)


def needed(draws: int, confidence: float) -> float:
    """Standard deviations above the mean of `draws` draws that one more stays below: `t sqrt(1 + 1/n)`, n >= 2."""
    return float(stdtrit(draws - 1, (1 + confidence) / 2)) * float(np.sqrt(1 + 1 / draws))


def draws_of(configuration: Configuration) -> tuple[Method, ...]:
    """Independent draws of random groups on a configuration: one method a draw, without benefit routers over them."""
    assigned = {method.scheme: method for method in reversed(configuration.controls) if method.groups == ASSIGNED}
    return tuple(method for method in configuration.controls if method in assigned.values())


def refit_variance(plan: Plan, results: Mapping[str, Outcome]) -> dict[Method, Scale]:
    """The mean gain of every grouped method over the pooled one of its configuration, and the gains of the draws of
    random groups there, none or more; not of random groups, nor where there are no matched savings.
    """
    reader = Reader(plan, results)
    scales: dict[Method, Scale] = {}
    for configuration in configurations(plan):
        pooled, draws = configuration.pooled, draws_of(configuration)
        for method in configuration.grouped:
            if pooled is None or method.is_control:
                continue
            savings = matched_savings(plan, results, (method, pooled, *draws))
            if savings is not None:
                gain, *others = (float(reader.mean_gap(m, pooled, savings)[0]) for m in (method, *draws))
                scales[method] = Scale(gain, tuple(others))
    return scales
