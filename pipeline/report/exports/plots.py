"""Data of `dvc plots`: one tidy table per plot, both splits.

Differences are in percentage points, accuracies and other fractions are fractions of 1; `compute` is the remaining
fraction of the dense FLOPs, of a difference that at which the two methods are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.findings import Accuracies, Findings, SplitFindings
from pipeline.report.analysis.latency import Latency
from pipeline.report.analysis.plan import Plan
from pipeline.statistics.bootstrap import Interval

DIFFERENCE = ("difference", "low", "high")


def plot_tables(plan: Plan, findings: Findings) -> dict[str, pd.DataFrame]:
    """File name (without .csv) -> tidy rows. Without perplexities or timings their tables are left out."""
    splits = list(findings.splits.values())
    tables = {
        "accuracy": _accuracy(splits),
        "comparisons": _comparisons(plan, findings),
        "agreement": _agreement(splits),
        "variants": _variants(findings),
        "regret": _regret(plan, splits),
        "tasks": _tasks(plan, splits),
        "task_differences": _task_differences(splits),
        "routers": _routers(findings),
    }
    if any(split.texts for split in splits):
        tables["perplexity"] = _perplexity(splits)
    if findings.latency.cells:
        tables["latency"] = _latency(findings.latency)
    return tables


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


def _comparisons(plan: Plan, findings: Findings) -> pd.DataFrame:
    """Every comparison at every target and as `mean` over them; `half_width` of an interval is the difference that it
    resolves, `split` is `primary` for the primary comparison."""
    parts: list[tuple[str, Plan, Accuracies]] = [(name, plan, split) for name, split in findings.splits.items()]
    if findings.primary is not None:
        parts.append(("primary", findings.primary.plan, findings.primary.accuracies))
    rows = [
        (name, kind, row.method.name, row.reference.name, part.samples, *values)
        for name, own, part in parts
        for kind, family in (("gain", part.gains), ("control", part.controls), ("difference", part.differences))
        for row in family
        for values in _by_target(own, row)
    ]
    return _table(
        rows, "split", "kind", "method", "reference", "samples", "target", "compute", *DIFFERENCE, "half_width",
        "tasks_low", "tasks_high", "p_corrected",
    )  # fmt: skip


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


def _routers(findings: Findings) -> pd.DataFrame:
    costs = {row.method.groups: row.fraction for row in findings.test.regrets}
    rows = (
        (
            row.router, *_ends(row.accuracy), row.largest, *map(_value, (row.new_task, row.new_template)),
            costs.get(row.router),
        )
        for row in findings.test.routers
    )  # fmt: skip
    return _table(rows, "router", "accuracy", "low", "high", "largest", "new_task", "new_template", "cost")


def _by_target(plan: Plan, row: Comparison) -> Iterator[tuple[object, ...]]:
    """Target, compute, difference, half width, interval over tasks, p; the mean, last, alone has the last three."""
    for target, saving, gap in zip(plan.targets, row.savings, row.at_targets, strict=True):
        if saving is not None and gap is not None:
            yield target, 1 - saving, *_points(gap), 50 * (gap.high - gap.low), None, None, None
    over = row.over_tasks and _points(row.over_tasks)[1:]
    half = 50 * (row.mean.high - row.mean.low)
    yield "mean", None, *_points(row.mean), half, *(over or (None, None)), row.p_corrected


def _value(interval: Interval | None) -> float | None:
    return interval and interval.value


def _points(interval: Interval) -> tuple[float, float, float]:
    return 100 * interval.value, 100 * interval.low, 100 * interval.high


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
