"""How much of what the baseline loses a better pooled profile wins back, at equal realised compute.

    share = (method - baseline) / (dense - baseline)          accuracies on the same samples

Method and baseline are read where both save the same (`pipeline/report/analysis/matched_compute.py`); every replicate
divides its own numbers. A share is given where the baseline loses something in every replicate: of nothing, nothing can
be won back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Levels, Reader, levels
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import ROUNDING, Resampler
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Recovery:
    """A pooled method beside the baseline.

    Attributes:
        method: wins back.
        reference: loses.
        levels: the saving that both are read at, for every target of the plan.
        shares: of the loss that is won back there, 1 being all; None where the reference is not sure to lose.
    """

    method: Method
    reference: Method
    levels: Levels
    fractions: tuple[Interval | None, ...]

    @property
    def wins(self) -> bool:
        """Whether anything is won back anywhere."""
        return any(fraction is not None and fraction.value > 0 for fraction in self.fractions)


def recoveries(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[Recovery]:
    """Every pooled method against the baseline, where one share is known at least."""
    baseline, reader = plan.method(plan.baseline), Reader(plan, results, draws)
    dense: Float[ndarray, " replicates_and_one"] = draws.weights @ results[plan.dense.name].score[0]
    found: list[Recovery] = []
    for method in plan.sparse:
        if method.is_pooled and method != baseline:
            at = levels(plan, results, (method, baseline))
            fractions = tuple(
                None if level is None else _fraction(reader, dense, method, baseline, level) for level in at
            )
            if any(fraction is not None for fraction in fractions):
                found.append(Recovery(method, baseline, at, fractions))
    return found


def _fraction(
    reader: Reader, dense: Float[ndarray, " replicates_and_one"], method: Method, baseline: Method, level: float
) -> Interval | None:
    """What is won back at one level; None where the baseline loses nothing in some replicate."""
    left = reader.read(baseline, level)
    lost = dense - left
    if (np.round(lost, ROUNDING) <= 0).any():
        return None
    return reader.draws.interval((reader.read(method, level) - left) / lost)
