"""Data of `dvc plots`: one tidy table per plot, both splits. The tables of the page are files of their own
(`pipeline/report/exports/write.py`).

Differences are in percentage points, accuracies and other fractions are fractions of 1; `compute` is the remaining
fraction of the dense FLOPs, of a difference that at which the two methods are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.statistics.bootstrap import Interval

DIFFERENCE = ("difference", "low", "high")


def plot_tables(findings: Findings) -> dict[str, pd.DataFrame]:
    """File name (without .csv) -> tidy rows."""
    return {
        "accuracy": _accuracy(findings),
        "comparisons": _comparisons(findings),
        "sparsity": _sparsity(findings),
        "task_differences": _task_differences(findings),
    }


def _table(rows: Iterable[tuple[object, ...]], *columns: str) -> pd.DataFrame:
    """Keeps its columns where there are no rows."""
    return pd.DataFrame(list(rows), columns=list(columns))


def _accuracy(findings: Findings) -> pd.DataFrame:
    rows = (
        (
            name, point.method.name, point.target, point.sparsity, point.deviation, *point.spread, point.compute,
            *_ends(point.accuracy), *_ends(point.loss),
        )
        for name, split in findings.splits.items()
        for point in split.points
    )  # fmt: skip
    return _table(
        rows, "split", "method", "target", "sparsity", "sparsity_sd", "sparsity_p5", "sparsity_p95", "compute",
        "accuracy", "low", "high", "loss", "loss_low", "loss_high",
    )  # fmt: skip


def _comparisons(findings: Findings) -> pd.DataFrame:
    """Every comparison at every target and as `mean` over them; `half_width` of an interval is the difference that it
    resolves, `split` is `primary` for the primary comparison."""
    parts = dict(findings.splits) | ({"primary": findings.primary} if findings.primary else {})
    rows = [
        (name, kind, row.method.name, row.reference.name, part.samples, *values)
        for name, part in parts.items()
        for kind, family in (("gain", part.gains), ("control", part.controls), ("difference", part.differences))
        for row in family
        for values in _by_target(part.plan, row)
    ]
    return _table(
        rows, "split", "kind", "method", "reference", "samples", "target", "compute", *DIFFERENCE, "half_width",
        "tasks_low", "tasks_high", "p_corrected",
    )  # fmt: skip


def _sparsity(findings: Findings) -> pd.DataFrame:
    """Realised, block by block, on test samples."""
    rows = (
        ("test", row.method.name, row.target, block, value)
        for row in findings.block_sparsities
        for block, value in enumerate(row.values.tolist())
    )
    return _table(rows, "split", "method", "target", "block", "sparsity")


def _task_differences(findings: Findings) -> pd.DataFrame:
    rows = (
        (name, comparison.method.name, comparison.reference.name, row.task, *_points(row.gap), row.p_corrected)
        for name, split in findings.splits.items()
        for comparison in split.task_differences
        for row in comparison.rows
    )
    return _table(rows, "split", "method", "reference", "task", *DIFFERENCE, "p_corrected")


def _by_target(plan: Plan, row: Comparison) -> Iterator[tuple[object, ...]]:
    """Target, compute, difference, half width, interval over tasks, p; the mean, last, alone has the last three."""
    for target, saving, gap in zip(plan.targets, row.savings, row.at_targets, strict=True):
        if saving is not None and gap is not None:
            yield target, 1 - saving, *_points(gap), 50 * (gap.high - gap.low), None, None, None
    over = row.over_tasks and _points(row.over_tasks)[1:]
    half = 50 * (row.mean.high - row.mean.low)
    yield "mean", None, *_points(row.mean), half, *(over or (None, None)), row.p_corrected


def _points(interval: Interval) -> tuple[float, float, float]:
    return 100 * interval.value, 100 * interval.low, 100 * interval.high


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
