"""How much fits differ by chance: draws of random groups as the scale that a grouped method's gain is held against.

Every interval of the report redraws samples, and some redraw tasks; none redraws the FITS. A profile set was fitted
once, to one set of groups, by one descent, and another fit would have gained something else. Random groups of the same
sizes carry no information, so independent draws of them (`pipeline.grouping.schemes.RANDOM_SCHEMES`), each fitted anew,
differ by the luck of grouping and fitting alone: the standard deviation between their gains on the pooled method is the
scale. (A part of it is how each draw's answers fall on these test samples, so it is rather too large. It is no more
than a scale: what learned groups would gain in another fit was not measured.)

A gain is beyond refit variance where one more draw is not expected to reach it: with n draws of mean m and standard
deviation s, where `gain > m + t s sqrt(1 + 1/n)`, t the quantile of Student's distribution with n - 1 degrees of
freedom at (1 + confidence) / 2. That assumes draws from one normal distribution, and is strict with few draws: 3 of
them need 5.0 s, 5 need 3.0. With one draw s is not known, and neither is anything that follows from it.

The gain of a method, of its pooled reference and of the draws are all read at levels common to them
(`pipeline/report/analysis/matched_compute.py`): noise grows with sparsity, so a scale from sparser levels would be too
long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from pipeline.report.analysis.configurations import Configuration, configurations
from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Levels, Reader, levels, mean_gap, plain_reader
from pipeline.report.analysis.plan import ASSIGNED, Method, Plan
from pipeline.report.analysis.resampling import ROUNDING

FEWEST_DRAWS = 2
"""Draws below which there is no standard deviation."""


@dataclass(frozen=True)
class Scale:
    """A gain and the gains of the draws, as shares of samples, all on the same reference at the same levels."""

    gain: float
    draws: tuple[float, ...]

    @property
    def deviation(self) -> float | None:
        """Standard deviation between draws (n - 1 in the denominator); None for fewer than `FEWEST_DRAWS`."""
        return _spread(self.draws) if len(self.draws) >= FEWEST_DRAWS else None

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


@dataclass(frozen=True)
class RefitVariance:
    """The mean gain of a grouped method on the pooled `reference` of its configuration, and those of the draws of
    random groups there, none or more, over levels common to all.
    """

    method: Method
    reference: Method
    draws: tuple[Method, ...]
    levels: Levels
    scale: Scale


@dataclass(frozen=True)
class DrawSpread:
    """The standard deviation between draws on one configuration, as a share of samples, at every target and of the mean
    over `levels`, which are common to the draws and the pooled `reference`.
    """

    reference: Method
    draws: tuple[Method, ...]
    levels: Levels
    at_levels: tuple[float | None, ...]
    mean: float


def needed(draws: int, confidence: float) -> float:
    """Standard deviations above the mean of `draws` draws that one more stays below: `t sqrt(1 + 1/n)`, n >= 2."""
    return float(stdtrit(draws - 1, (1 + confidence) / 2)) * float(np.sqrt(1 + 1 / draws))


def draws_of(configuration: Configuration) -> tuple[Method, ...]:
    """Independent draws of random groups on a configuration: one method a draw, and no benefit router that chooses
    among its groups."""
    given = {method.scheme: method for method in reversed(configuration.controls) if method.groups == ASSIGNED}
    return tuple(method for method in configuration.controls if method in given.values())


def refit_variance(plan: Plan, results: Mapping[str, Outcome]) -> list[RefitVariance]:
    """One entry for every grouped method with a pooled reference, configuration by configuration, but for random groups
    and for methods without a level.
    """
    reader = plain_reader(plan, results)
    found: list[RefitVariance] = []
    for configuration in configurations(plan):
        draws = draws_of(configuration)
        for method in configuration.grouped:
            if configuration.pooled is not None and not method.is_control:
                at = levels(plan, results, (method, configuration.pooled, *draws))
                if any(level is not None for level in at):
                    own, *others = (_gain(reader, one, configuration.pooled, at) for one in (method, *draws))
                    found.append(RefitVariance(method, configuration.pooled, draws, at, Scale(own, tuple(others))))
    return found


def draw_spreads(plan: Plan, results: Mapping[str, Outcome]) -> list[DrawSpread]:
    """One entry for every configuration with a pooled method and at least `FEWEST_DRAWS` draws that have a level."""
    reader = plain_reader(plan, results)
    found: list[DrawSpread] = []
    for configuration in configurations(plan):
        draws = draws_of(configuration)
        if configuration.pooled is not None and len(draws) >= FEWEST_DRAWS:
            at = levels(plan, results, (configuration.pooled, *draws))
            if any(level is not None for level in at):
                gaps = [reader.gaps(draw, configuration.pooled, at) for draw in draws]
                spreads = tuple(_deviation(row) for row in zip(*gaps, strict=True))
                mean = _spread([_gain(reader, draw, configuration.pooled, at) for draw in draws])
                found.append(DrawSpread(configuration.pooled, draws, at, spreads, mean))
    return found


def _gain(reader: Reader, method: Method, reference: Method, at: Levels) -> float:
    return float(mean_gap(reader.gaps(method, reference, at))[0])


def _deviation(gaps: Sequence[np.ndarray | None]) -> float | None:
    known = [float(gap[0]) for gap in gaps if gap is not None]
    return _spread(known) if known else None


def _spread(gains: Sequence[float]) -> float:
    """Standard deviation, n - 1 in the denominator; 0 for equal gains whatever their last bits."""
    return round(float(np.std(gains, ddof=1)), ROUNDING)
