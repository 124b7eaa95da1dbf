"""Per-item differences of two methods at matched compute, from their results: the rows that every interval is made of.

Methods are compared where the baseline and the method have the same realised FLOPs: the smaller of their savings at the
target (`pipeline/report/analysis/matched_compute.py` has the reason). Each is read there along its own curve, sample by
sample (`values_at`), so that intervals are those of plain means.

Accuracy is in points. Text has no right answer: a window's value is its log-likelihood a token in hundredths of a nat,
so that a difference is the percentage by which the method's perplexity is lower (to first order). Every window counts
the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.statistics.matched_compute import curve_of, values_at
from wina_amp.errors import UserError


def differences(
    dense: pd.DataFrame,
    method: pd.DataFrame,
    baseline: pd.DataFrame,
    target: float,
    text_tokens: Mapping[str, int] | None = None,
) -> pd.DataFrame:
    """One row a sample: `sample_id`, `method`, `baseline` (values at matched compute) and `difference`.

    Args:
        dense, method, baseline: rows of `schemas.RESULTS` of one split.
        target: where they are compared.
        text_tokens: scored tokens of every text, by `sample_id`; given, texts are compared instead of scores.

    Raises:
        UserError: the three hold different samples or none to compare, or one has no result at the target.
    """
    tables = [_by_target(frame, text_tokens) for frame in (dense, method, baseline)]
    samples = tables[0]["value"].columns
    for table in tables:
        if not table["value"].columns.equals(samples):
            raise _refusal("hold the same samples", f"{len(samples)} and {table['value'].shape[1]}")
    if not len(samples):
        raise _refusal("have samples that can be right or wrong" if text_tokens is None else "have texts", "none")
    of_dense = tables[0]["value"].to_numpy()[0]
    curves = [curve_of(of_dense, *(table[name].to_numpy() for name in ("value", "saving"))) for table in tables[1:]]
    for table in tables[1:]:
        if target not in table["value"].index:
            raise _refusal(f"be evaluated at {target:g}", f"targets {table['value'].index.tolist()}")
    at = min(float(table["saving"].loc[target].mean()) for table in tables[1:])
    first, second = (values_at(curve, at) for curve in curves)
    return pd.DataFrame({"sample_id": samples, "method": first, "baseline": second, "difference": first - second})


def _by_target(frame: pd.DataFrame, text_tokens: Mapping[str, int] | None) -> dict[str, Any]:
    """Values and savings, `[targets, samples]`, both sorted, of the samples that are compared."""
    if text_tokens is None:
        value: Any = frame["score"]
    else:
        value = frame["loglikelihood"] / frame["sample_id"].map(lambda sample: text_tokens.get(sample, math.nan))
    rows: Any = frame.assign(value=100 * value, saving=1 - frame["flops"] / frame["dense_flops"])[value.notna()]
    return {name: rows.pivot(index="target", columns="sample_id", values=name) for name in ("value", "saving")}


def _refusal(rule: str, found: str) -> UserError:
    return UserError(
        f"Results that are compared must {rule}",
        found=found,
        where="the tables `results`",
        remedy="run `dvc repro`, which rebuilds whichever is out of date",
    )
