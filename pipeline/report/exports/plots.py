"""The data behind `dvc plots`: one tidy table per plot, both splits.

Differences are in percentage points, accuracies and shares are fractions of 1; `compute` of a difference is the share
of the dense FLOPs that remains at the level of its pair.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipeline.report.analysis.findings import Findings, Primary, SplitFindings
from pipeline.report.analysis.plan import Plan
from pipeline.report.exports.latency import latency_table
from pipeline.report.exports.metrics import DECIMALS
from pipeline.statistics.bootstrap import Interval
from wina_amp.atomic import replacing


def plot_tables(plan: Plan, findings: Findings) -> dict[str, pd.DataFrame]:
    """File name (without .csv) -> tidy rows."""
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
        tables["latency"] = latency_table(findings.latency)
    for row in findings.test.routers:
        cells = [
            (t, r) for t, counts in enumerate(row.confusion) for r, count in enumerate(counts) for _ in range(count)
        ]
        tables[f"confusion_{row.router}"] = pd.DataFrame(cells, columns=["actual", "predicted"])
    return tables


def write_plots(plan: Plan, findings: Findings, folder: Path) -> None:
    """Write the folder of plot files."""
    with replacing(folder) as temporary:
        temporary.mkdir()
        for name, rows in plot_tables(plan, findings).items():
            rows.round(DECIMALS).to_csv(temporary / f"{name}.csv", index=False, lineterminator="\n")


def _accuracy(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "method": point.method.name, "target": point.target, "sparsity": point.sparsity,
            "sparsity_sd": point.deviation, "sparsity_p5": point.spread[0], "sparsity_p95": point.spread[1],
            "compute": point.compute, "accuracy": point.accuracy.value, "low": point.accuracy.low,
            "high": point.accuracy.high, "loss": point.loss.value, "loss_low": point.loss.low,
            "loss_high": point.loss.high,
        }
        for split in splits
        for point in split.points
    ]  # fmt: skip
    columns = [
        "split",
        "method",
        "target",
        "sparsity",
        "sparsity_sd",
        "sparsity_p5",
        "sparsity_p95",
        "compute",
        "accuracy",
        "low",
        "high",
        "loss",
        "loss_low",
        "loss_high",
    ]
    return pd.DataFrame(rows, columns=columns)


def _differences(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "method": row.method.name, "reference": row.reference.name,
            "target": target, "compute": 1 - level, **_ends(gap), "mean_p_corrected": row.p_corrected,
        }
        for split in splits
        for row in [*split.gains, *split.differences, *split.controls]
        for target, level, gap in zip(plan.targets, row.levels, row.at_levels, strict=True)
        if level is not None and gap is not None
    ]  # fmt: skip
    columns = ["split", "method", "reference", "target", "compute", "difference", "low", "high", "mean_p_corrected"]
    return pd.DataFrame(rows, columns=columns)


def _primary(primary: Primary) -> pd.DataFrame:
    """Every comparison on all test samples; `half_width` of its interval, in points, is the difference it resolves."""
    found = primary.found
    rows = [
        {
            "method": row.method.name, "reference": row.reference.name, "samples": found.samples, "target": target,
            "compute": 1 - level, **_ends(gap), "half_width": 100 * half, "mean_p_corrected": row.p_corrected,
        }
        for row in [*found.gains, *found.differences, *found.controls]
        for target, level, gap, half in zip(
            primary.plan.targets, row.levels, row.at_levels, row.half_widths, strict=True
        )
        if level is not None and gap is not None and half is not None
    ]  # fmt: skip
    columns = ["method", "reference", "samples", "target", "compute", "difference", "low", "high", "half_width"]
    return pd.DataFrame(rows, columns=[*columns, "mean_p_corrected"])


def _agreement(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "label": row.label.name, "nmi": row.found.nmi.value, "nmi_low": row.found.nmi.low,
            "nmi_high": row.found.nmi.high, "ari": row.found.ari.value, "ari_low": row.found.ari.low,
            "ari_high": row.found.ari.high, "purity": row.found.purity.value, "purity_low": row.found.purity.low,
            "purity_high": row.found.purity.high, "p": row.p, "p_corrected": row.p_corrected,
            "chance_nmi": row.chance.nmi.value if row.chance else None,
        }
        for split in splits
        for row in split.agreements
    ]  # fmt: skip
    measures = [f"{name}{end}" for name in ("nmi", "ari", "purity") for end in ("", "_low", "_high")]
    return pd.DataFrame(rows, columns=["split", "label", *measures, "p", "p_corrected", "chance_nmi"])


def _variants(findings: Findings) -> pd.DataFrame:
    rows = [
        {
            "variant": one.kind, "block": one.block, "label": row.label.name, "nmi": row.found.nmi.value,
            "nmi_low": row.found.nmi.low, "nmi_high": row.found.nmi.high, "ari": row.found.ari.value,
            "purity": row.found.purity.value, "change": row.change.value, "change_low": row.change.low,
            "change_high": row.change.high, "p": row.p, "p_corrected": row.p_corrected,
            "same_as_groups": one.same, "stability": one.stability,
        }
        for one in findings.variants
        for row in one.rows
    ]  # fmt: skip
    measures = ["nmi", "nmi_low", "nmi_high", "ari", "purity", "change", "change_low", "change_high"]
    columns = ["variant", "block", "label", *measures, "p", "p_corrected", "same_as_groups", "stability"]
    return pd.DataFrame(rows, columns=columns)


def _regret(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {"split": split.split, "method": row.method.name, "oracle": row.oracle.name, "target": target, **_ends(gap)}
        for split in splits
        for row in split.regrets
        for target, gap in zip(plan.targets, row.at_targets, strict=True)
        if gap is not None
    ]
    return pd.DataFrame(rows, columns=["split", "method", "oracle", "target", "difference", "low", "high"])


def _tasks(plan: Plan, splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "task": row.task, "samples": row.samples, "chance": row.chance,
            "dense": row.dense.value, "method": method, "target": target, "accuracy": value,
        }
        for split in splits
        for row in split.tasks
        for method, values in row.accuracy.items()
        for target, value in zip(plan.targets, values, strict=True)
        if value is not None
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["split", "task", "samples", "chance", "dense", "method", "target", "accuracy"])


def _task_differences(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "method": one.method.name, "reference": one.reference.name, "task": row.task,
            **_ends(row.gap), "p_corrected": row.p_corrected,
        }
        for split in splits
        for one in split.task_differences
        for row in one.rows
    ]  # fmt: skip
    columns = ["split", "method", "reference", "task", "difference", "low", "high", "p_corrected"]
    return pd.DataFrame(rows, columns=columns)


def _perplexity(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "task": text.task, "method": point.method.name, "target": point.target,
            "sparsity": point.sparsity, "compute": point.compute, "perplexity": point.perplexity.value,
            "low": point.perplexity.low, "high": point.perplexity.high,
        }
        for split in splits
        for text in split.texts
        for point in text.points
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _ends(interval: Interval) -> dict[str, float]:
    return {"difference": 100 * interval.value, "low": 100 * interval.low, "high": 100 * interval.high}
