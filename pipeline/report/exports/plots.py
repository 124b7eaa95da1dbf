"""Data of `dvc plots`: one tidy table per plot, both splits.

Differences are in percentage points, accuracies and other fractions are fractions of 1; `compute` is the remaining
fraction of the dense FLOPs, of a difference that at which the two methods are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.findings import Accuracies, Findings, Primary, SplitFindings
from pipeline.report.analysis.latency import Latency
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RouterRow
from pipeline.statistics.bootstrap import Interval

DIFFERENCE = ("difference", "low", "high")


def plot_tables(plan: Plan, findings: Findings) -> dict[str, pd.DataFrame]:
    """File name (without .csv) -> tidy rows. Without perplexities, timings or a primary comparison their tables are
    left out.
    """
    splits = list(findings.splits.values())
    tables = {
        "accuracy": _accuracy(splits),
        "differences": _differences(plan, splits),
        "agreement": _agreement(splits),
        "variants": _variants(findings),
        "regret": _regret(plan, splits),
        "tasks": _tasks(plan, splits),
        "task_differences": _task_differences(splits),
    }
    if findings.primary is not None:
        tables["primary"] = _primary(findings.primary)
    if any(split.texts for split in splits):
        tables["perplexity"] = _perplexity(splits)
    if findings.latency.cells:
        tables["latency"] = _latency(findings.latency)
    return tables | {f"confusion_{row.router}": _confusion(row) for row in findings.test.routers}


def _table(rows: Iterable[tuple[object, ...]], *columns: str) -> pd.DataFrame:
    """Keeps its columns where there are no rows."""
    return pd.DataFrame(list(rows), columns=list(columns))


def _accuracy(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (
            split.split, point.method.name, point.target, point.sparsity, point.deviation, *point.spread, point.compute,
            *_ends(point.accuracy), *_ends(point.loss),
        )
        for split in splits
        for point in split.points
    )  # fmt: skip
    return _table(
        rows, "split", "method", "target", "sparsity", "sparsity_sd", "sparsity_p5", "sparsity_p95", "compute",
        "accuracy", "low", "high", "loss", "loss_low", "loss_high",
    )  # fmt: skip


def _differences(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (split.split, row.method.name, row.reference.name, target, 1 - saving, *_points(interval), row.p_corrected)
        for split in splits
        for row, target, saving, interval, _ in _by_target(plan, split)
    )
    return _table(rows, "split", "method", "reference", "target", "compute", *DIFFERENCE, "mean_p_corrected")


def _primary(primary: Primary) -> pd.DataFrame:
    """Every comparison on all test samples; `half_width` of its interval, in points, is the difference it resolves."""
    samples = primary.accuracies.samples
    rows = (
        (
            row.method.name, row.reference.name, samples, target, 1 - saving, *_points(interval), 100 * half_width,
            row.p_corrected,
        )
        for row, target, saving, interval, half_width in _by_target(primary.plan, primary.accuracies)
    )  # fmt: skip
    return _table(
        rows, "method", "reference", "samples", "target", "compute", *DIFFERENCE, "half_width", "mean_p_corrected"
    )


def _agreement(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (
            split.split, row.label.name, *_ends(row.agreement.nmi), *_ends(row.agreement.ari),
            *_ends(row.agreement.purity), row.p, row.p_corrected, row.chance.nmi.value if row.chance else None,
        )
        for split in splits
        for row in split.agreements
    )  # fmt: skip
    measures = (f"{name}{end}" for name in ("nmi", "ari", "purity") for end in ("", "_low", "_high"))
    return _table(rows, "split", "label", *measures, "p", "p_corrected", "chance_nmi")


def _variants(findings: Findings) -> pd.DataFrame:
    rows = (
        (
            variant.kind, variant.block, row.label.name, *_ends(row.agreement.nmi), row.agreement.ari.value,
            row.agreement.purity.value, *_ends(row.change), row.p, row.p_corrected, variant.same, variant.stability,
        )
        for variant in findings.variants
        for row in variant.rows
    )  # fmt: skip
    return _table(
        rows, "variant", "block", "label", "nmi", "nmi_low", "nmi_high", "ari", "purity", "change", "change_low",
        "change_high", "p", "p_corrected", "same_as_groups", "stability",
    )  # fmt: skip


def _regret(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (split.split, row.method.name, row.oracle.name, target, *_points(regret))
        for split in splits
        for row in split.regrets
        for target, regret in zip(plan.targets, row.at_targets, strict=True)
        if regret is not None
    )
    return _table(rows, "split", "method", "oracle", "target", *DIFFERENCE)


def _tasks(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (split.split, row.task, row.samples, row.chance, row.dense.value, method, target, accuracy)
        for split in splits
        for row in split.tasks
        for method, accuracies in row.accuracy.items()
        for target, accuracy in zip(plan.targets, accuracies, strict=True)
        if accuracy is not None
    )
    return _table(rows, "split", "task", "samples", "chance", "dense", "method", "target", "accuracy")


def _task_differences(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (split.split, comparison.method.name, comparison.reference.name, row.task, *_points(row.gap), row.p_corrected)
        for split in splits
        for comparison in split.task_differences
        for row in comparison.rows
    )
    return _table(rows, "split", "method", "reference", "task", *DIFFERENCE, "p_corrected")


def _perplexity(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = (
        (
            split.split, text.task, point.method.name, point.target, point.sparsity, point.compute,
            *_ends(point.perplexity),
        )
        for split in splits
        for text in split.texts
        for point in text.points
    )  # fmt: skip
    return _table(rows, "split", "task", "method", "target", "sparsity", "compute", "perplexity", "low", "high")


def _latency(latency: Latency) -> pd.DataFrame:
    """Accuracies are empty where there are none."""
    rows = (
        (
            cell.batch, cell.context, timing.method.name, timing.target, timing.ms.value, cell.dense_ms.value,
            *_ends(timing.speedup), timing.point and timing.point.accuracy.value, timing.is_deployable,
        )
        for cell in latency.cells
        for timing in cell.timings
    )  # fmt: skip
    return _table(
        rows, "batch", "context", "method", "target", "ms_per_token", "dense_ms", "speedup", "speedup_low",
        "speedup_high", "accuracy", "is_deployable",
    )  # fmt: skip


def _confusion(router: RouterRow) -> pd.DataFrame:
    """One row per sample, as `dvc plots` wants them."""
    cells = np.argwhere(router.confusion >= 0)
    return pd.DataFrame(np.repeat(cells, router.confusion.ravel(), axis=0), columns=["actual", "predicted"])


def _by_target(plan: Plan, accuracies: Accuracies) -> Iterator[tuple[Comparison, float, float, Interval, float]]:
    """Every comparison at every target at which it was made: target, saving in FLOPs, difference, half its width."""
    for row in (*accuracies.gains, *accuracies.differences, *accuracies.controls):
        for target, saving, interval, half_width in zip(
            plan.targets, row.savings, row.at_targets, row.half_widths, strict=True
        ):
            if saving is not None and interval is not None and half_width is not None:
                yield row, target, saving, interval, half_width


def _points(interval: Interval) -> tuple[float, float, float]:
    return 100 * interval.value, 100 * interval.low, 100 * interval.high


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
