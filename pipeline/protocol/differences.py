"""Per-item differences of two methods at matched compute, from their results: the rows that every interval is made of.

Methods are compared where the baseline and the method have the same realised FLOPs: the smaller of their savings at the
target (`pipeline/report/analysis/matched_compute.py` has the reason). Each is read there along its own curve, sample by
sample (`values_at`), so that intervals are those of plain means.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from pipeline.statistics.matched_compute import curve_of, values_at
from wina_amp.errors import UserError


def differences(dense: pd.DataFrame, method: pd.DataFrame, baseline: pd.DataFrame, target: float) -> pd.DataFrame:
    """One row a sample: `sample_id`, `method`, `baseline` (scores at matched compute) and `difference`, in points.

    Args:
        dense, method, baseline: rows of `schemas.RESULTS` of one split.
        target: where they are compared.

    Raises:
        UserError: the three hold different samples, none can be right or wrong, or one has no result at the target.
    """
    tables = [_by_target(frame) for frame in (dense, method, baseline)]
    samples = tables[0]["score"].columns
    for table in tables:
        if not table["score"].columns.equals(samples):
            raise _refusal("hold the same samples", f"{len(samples)} and {table['score'].shape[1]}")
    if not len(samples):
        raise _refusal("have samples that can be right or wrong", "none")
    dense_score = tables[0]["score"].to_numpy()[0]
    curves = [curve_of(dense_score, *(table[name].to_numpy() for name in ("score", "saving"))) for table in tables[1:]]
    for table in tables[1:]:
        if target not in table["score"].index:
            raise _refusal(f"be evaluated at {target:g}", f"targets {table['score'].index.tolist()}")
    at = min(float(table["saving"].loc[target].mean()) for table in tables[1:])
    first, second = (values_at(curve, at) for curve in curves)
    columns = {"method": 100 * first, "baseline": 100 * second, "difference": 100 * (first - second)}
    return pd.DataFrame({"sample_id": samples, **columns})


def _by_target(frame: pd.DataFrame) -> dict[str, Any]:
    """Scores and savings, `[targets, samples]`, both sorted; without samples that cannot be right or wrong."""
    rows: Any = frame[frame["score"].notna()].assign(saving=1 - frame["flops"] / frame["dense_flops"])
    return {name: rows.pivot(index="target", columns="sample_id", values=name) for name in ("score", "saving")}


def _refusal(rule: str, found: str) -> UserError:
    return UserError(
        f"Results that are compared must {rule}",
        found=found,
        where="the tables `results`",
        remedy="run `dvc repro`, which rebuilds whichever is out of date",
    )
