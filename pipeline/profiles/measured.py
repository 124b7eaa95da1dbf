"""Measured accuracy, sparsity and compute of a method, from its result rows: the figures in a profile set.

Only the test split counts: profiles were built on the other. Means are over samples, intervals those of the report (the
same draws of the same samples), and `loss` is paired with the dense model's results. Every target has all samples that
the method was evaluated on there: at the primary targets more than at the others (`evaluate.primary`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy import ndarray

from pipeline.statistics.bootstrap import mean_interval
from wina_amp.errors import UserError
from wina_amp.profile_set.description import Estimate, Measured

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
    """The figures at every target, from the tables `results` of the method and of the dense model; None where the test
    split was not evaluated.

    Raises:
        UserError: test samples of the method are missing from the dense model's results, or a target has neither all
            of those nor the same part of them as other targets.
    """
    baseline = _test(dense)
    rows = _test(results)
    if baseline.empty and rows.empty:
        return tuple(None for _ in targets)
    by_target = {target: rows[rows["target"] == target] for target in targets}
    fewest = min(by_target.values(), key=len).index
    figures: list[Measured | None] = []
    for target, here in by_target.items():
        is_whole, is_part = here.index.equals(baseline.index), here.index.equals(fewest)
        if not is_whole and not (is_part and len(here) and here.index.isin(baseline.index).all()):
            raise UserError(
                "A method must have been evaluated at every target on the test samples of the dense model, or on the "
                "same part of them",
                found=f"{len(here)} test samples at {target:g}, {len(baseline)} of the dense model",
                where="table `results`",
                remedy="run `dvc repro`, which rebuilds whichever table is out of date",
            )

        def estimate(values: ndarray) -> Estimate:
            interval = mean_interval(values, replicates=replicates, confidence=confidence, seed=seed)
            return Estimate(*(round(end, DECIMALS) for end in (interval.value, interval.low, interval.high)))

        score, reference = here["score"].to_numpy(), baseline["score"].loc[here.index].to_numpy()
        is_scored = ~np.isnan(score)
        figures.append(
            Measured(
                samples=len(here),
                accuracy=estimate(score[is_scored]) if is_scored.any() else None,
                loss=estimate((reference - score)[is_scored]) if is_scored.any() else None,
                sparsity=estimate(here["realised_sparsity"].to_numpy()),
                compute=estimate((here["flops"] / here["dense_flops"]).to_numpy()),
            )
        )
    return tuple(figures)


def _test(rows: Any) -> Any:
    return rows[rows["split"] == "test"].sort_values("sample_id").set_index("sample_id")
