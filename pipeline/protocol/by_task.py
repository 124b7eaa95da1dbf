"""Accuracy or perplexity of every method, target and task, and what it computed: what people look up first."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def by_task(results: pd.DataFrame, samples: pd.DataFrame) -> pd.DataFrame:
    """One row a method, target and task, from the tables `results` and `samples` of one split.

    Returns: `method`, `target`, `task`, `samples`; `accuracy` in points (mean score) and `perplexity` a token of the
        scored text, each NaN for tasks of the other kind; `sparsity` (realised, of the projections' weights, eligible
        tokens); `compute` (FLOPs, fraction of dense).
    """
    tokens = samples["answer_ids"].map(len)
    rows: Any = results.merge(samples[["sample_id", "task"]].assign(tokens=tokens), on="sample_id", validate="m:1")
    rows = rows.assign(text=rows["loglikelihood"].where(rows["score"].isna()))
    grouped: Any = rows.groupby(["method", "target", "task"], sort=False)
    sums = grouped.agg(
        samples=("sample_id", "size"),
        accuracy=("score", "mean"),
        text=("text", lambda values: values.sum(min_count=1)),
        tokens=("tokens", "sum"),
        sparsity=("realised_sparsity", "mean"),
        flops=("flops", "sum"),
        dense_flops=("dense_flops", "sum"),
    ).reset_index()
    table = sums.assign(
        accuracy=100 * sums["accuracy"],
        perplexity=np.exp(-sums["text"] / sums["tokens"]),
        compute=sums["flops"] / sums["dense_flops"],
    )
    return table[["method", "target", "task", "samples", "accuracy", "perplexity", "sparsity", "compute"]]
