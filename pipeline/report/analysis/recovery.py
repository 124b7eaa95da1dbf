"""Gap recovered: the fraction of the baseline's accuracy loss that another pooled profile does not have.

    gap recovered = (method - baseline) / (dense - baseline)          accuracies of the same samples at matched compute

Every bootstrap replicate divides its own numbers. The fraction is given where the baseline loses accuracy in every
replicate; otherwise it is not defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Reader, matched_savings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import ROUNDING, Resampler
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Recovery:
    """The gap that a pooled method recovers from the baseline at every target of the plan, 1 being all of it.

    None where the baseline is not sure to lose.
    """

    method: Method
    fractions: tuple[Interval | None, ...]


def recoveries(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[Recovery]:
    """Every other pooled method against the baseline, where the gap recovered is defined at one target at least."""
    baseline, reader = plan.method(plan.baseline), Reader(plan, results, draws)
    dense: Float[np.ndarray, " replicates_and_one"] = draws.weights @ results[plan.dense.name].score[0]

    def fraction(method: Method, saving: float | None) -> Interval | None:
        if saving is None:
            return None
        accuracy = reader.read(baseline, saving)
        loss = dense - accuracy
        if (np.round(loss, ROUNDING) <= 0).any():
            return None
        return draws.interval((reader.read(method, saving) - accuracy) / loss)

    rows: list[Recovery] = []
    for method in plan.sparse:
        if method.is_pooled and method != baseline:
            savings = matched_savings(plan, results, (method, baseline)) or ()
            fractions = tuple(fraction(method, saving) for saving in savings)
            if any(value is not None for value in fractions):
                rows.append(Recovery(method, fractions))
    return rows
