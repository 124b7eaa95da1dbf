"""What a method was measured to do, from its result rows: the figures that a profile set carries with it.

Only the test split counts: profiles were built on the other. Means are over samples, intervals those of the report (the
same draws of the same samples), and `loss` is paired with the dense model's results.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from pipeline.errors import UserError
from pipeline.handover.description import Estimate, Measured
from pipeline.statistics import mean_interval

DECIMALS = 6
"""Digits kept; sums may round otherwise on another machine."""


def measured(
    results: pd.DataFrame,
    dense: pd.DataFrame,
    targets: Sequence[float],
    *,
    replicates: int,
    confidence: float,
    seed: int,
) -> tuple[Measured | None, ...]:
    """The figures at every target; None where the test split was not evaluated.

    Args:
        results: rows of the table `results` of the method.
        dense: the same of the dense model.
        targets: the method's.
        replicates, confidence, seed: of the bootstrap.

    Raises:
        UserError: test samples of one are missing from the other, or a target has none where others have.
    """
    baseline = _test(dense)
    rows = _test(results)
    if baseline.empty and rows.empty:
        return tuple(None for _ in targets)
    found: list[Measured | None] = []
    for target in targets:
        here = rows[rows["target"] == target]
        if here.index.tolist() != baseline.index.tolist():
            raise UserError(
                "A method must have been evaluated on the test samples of the dense model at every target",
                found=f"{len(here)} test samples at {target:g}, {len(baseline)} of the dense model",
                where="table `results`",
                remedy="run `dvc repro`, which rebuilds whichever table is out of date",
            )

        def estimate(values: ndarray) -> Estimate:
            interval = mean_interval(values, replicates=replicates, confidence=confidence, seed=seed)
            return Estimate(*(round(end, DECIMALS) for end in (interval.value, interval.low, interval.high)))

        score, reference = here["score"].to_numpy(), baseline["score"].to_numpy()
        is_scored = ~np.isnan(score)
        found.append(
            Measured(
                samples=len(here),
                accuracy=estimate(score[is_scored]) if is_scored.any() else None,
                loss=estimate((reference - score)[is_scored]) if is_scored.any() else None,
                sparsity=estimate(here["realised_sparsity"].to_numpy()),
                compute=estimate((here["flops"] / here["dense_flops"]).to_numpy()),
            )
        )
    return tuple(found)


def _test(rows: Any) -> Any:
    return rows[rows["split"] == "test"].sort_values("sample_id").set_index("sample_id")
