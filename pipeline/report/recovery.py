"""How much of what the baseline loses a better pooled profile wins back, at equal realised compute.

    share = (method - baseline) / (dense - baseline)          accuracies on the same samples

Method and baseline are read where both save the same (`pipeline/report/levels.py`); every replicate divides its own
numbers. A share is given where the baseline loses something in every replicate: of nothing, nothing can be won back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from pipeline.report.evidence import Outcome
from pipeline.report.levels import Levels, Reader, levels
from pipeline.report.plan import Method, Plan
from pipeline.report.resampling import ROUNDING, Resampler
from pipeline.report.wording import listed, percent_interval, target_name
from pipeline.statistics import Interval


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
    shares: tuple[Interval | None, ...]

    @property
    def wins(self) -> bool:
        """Whether anything is won back anywhere."""
        return any(share is not None and share.value > 0 for share in self.shares)


def recoveries(plan: Plan, results: Mapping[str, Outcome], draws: Resampler) -> list[Recovery]:
    """Every pooled method against the baseline, where one share is known at least."""
    baseline, reader = plan.method(plan.baseline), Reader(plan, results, draws)
    dense: Float[ndarray, " replicates_and_one"] = draws.weights @ results[plan.dense.name].score[0]
    found: list[Recovery] = []
    for method in plan.sparse:
        if not method.is_pooled or method == baseline:
            continue
        at = levels(plan, results, (method, baseline))
        shares: list[Interval | None] = []
        for level in at:
            lost = None if level is None else dense - reader.read(baseline, level)
            if level is None or lost is None or (np.round(lost, ROUNDING) <= 0).any():
                shares.append(None)
            else:
                won = reader.read(method, level) - reader.read(baseline, level)
                shares.append(draws.interval(won / lost))
        if any(share is not None for share in shares):
            found.append(Recovery(method, baseline, at, tuple(shares)))
    return found


def recovery_sentences(plan: Plan, rows: Sequence[Recovery], samples: int) -> list[str]:
    """What the methods that win something back win, target by target."""
    return [
        f"Of the accuracy that `{row.reference.name}` loses against the dense model, `{row.method.name}` wins back, at "
        f"equal compute on {samples:,} test samples: {_by_target(plan, row)}."
        for row in rows
        if row.wins
    ]


def _by_target(plan: Plan, row: Recovery) -> str:
    shown = [
        f"{percent_interval(share)} at {target_name(target)}"
        for target, share in zip(plan.targets, row.shares, strict=True)
        if share is not None
    ]
    return listed(shown)
