"""Timings for other tools: rows for `dvc plots`, and speed-ups for `dvc metrics`. Nothing where nothing was timed."""

from __future__ import annotations

import pandas as pd

from pipeline.report.analysis.latency import Latency


def latency_table(found: Latency) -> pd.DataFrame:
    """One row per batch, context, method and target; accuracy as a fraction, empty where there is none."""
    return pd.DataFrame(
        [
            {
                "batch": cell.batch,
                "context": cell.context,
                "method": one.method.name,
                "target": one.target,
                "ms_per_token": one.ms.value,
                "dense_ms": cell.dense_ms.value,
                "speedup": one.speedup.value,
                "speedup_low": one.speedup.low,
                "speedup_high": one.speedup.high,
                "accuracy": None if one.point is None else one.point.accuracy.value,
                "is_deployable": one.is_deployable,
            }
            for cell in found.cells
            for one in cell.timings
        ]
    )


def latency_metrics(found: Latency) -> dict[str, float]:
    """`speedup.<method>.<target %>` at the smallest batch and shortest context."""
    return {
        f"speedup.{one.method.name}.{f'{100 * one.target:g}'.replace('.', '_')}": one.speedup.value
        for cell in found.cells[:1]
        for one in cell.timings
    }
