"""Numbers for other tools: metrics.json for `dvc metrics` and `dvc exp show`, and the data behind `dvc plots`.

Metrics are flat (`accuracy.wina.50` is test accuracy at the 50% target) and few enough to be columns; everything else
is in the plot files, one tidy table each. Differences are in percentage points, accuracies and shares are fractions of
1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pipeline.atomic import replacing
from pipeline.report.accuracy import Comparison, Point
from pipeline.report.findings import Findings, SplitFindings
from pipeline.report.perplexity import TextPoint
from pipeline.report.plan import Plan
from pipeline.statistics import Interval

DECIMALS = 6


def metrics(plan: Plan, findings: Findings) -> dict[str, float]:
    """Flat name -> number, test split only.

    `accuracy.<method>.<target %>` (`accuracy.dense` has no target),
    `difference.<method>.mean|low|high` (points against the baseline at equal compute, averaged over the compute
    levels), `nmi.<label>`, `ari.<label>`, `router.<router>.accuracy`, `regret.<method>.mean|low|high` (points),
    `clusters.<measure>`; on text `perplexity.<task>.<method>.<target %>` and, against the baseline at the same target,
    `log_perplexity_difference.<task>.<method>.<target %>.mean|low|high` (nats per token).
    """
    test = findings.test
    found: dict[str, float] = {}
    for point in test.points:
        found[f"accuracy.{_place(point)}"] = point.accuracy.value
    for row in test.differences:
        found |= _in_points(f"difference.{row.method.name}", row.mean)
    for row in test.agreements:
        found[f"nmi.{row.label.name}"] = row.found.nmi.value
        found[f"ari.{row.label.name}"] = row.found.ari.value
    found |= {f"router.{row.router}.accuracy": row.accuracy.value for row in test.routers}
    for row in test.regrets:
        found |= _in_points(f"regret.{row.method.name}", row.mean)
    for text in test.texts:
        for one in text.points:
            found[f"perplexity.{text.task}.{_place(one)}"] = one.perplexity.value
            if one.over_baseline is not None:
                found |= _ends_of(f"log_perplexity_difference.{text.task}.{_place(one)}", one.over_baseline)
    measures = {name: findings.quality.get(name) for name in ("groups", "silhouette", "stability")}
    found |= {f"clusters.{name}": value for name, value in measures.items() if value is not None}
    return {name: round(value, DECIMALS) for name, value in found.items()}


def plot_tables(plan: Plan, findings: Findings) -> dict[str, pd.DataFrame]:
    """File name (without .csv) -> tidy rows."""
    splits = list(findings.splits.values())
    tables = {
        "accuracy": _accuracy(splits),
        "differences": _differences(plan, splits),
        "agreement": _agreement(splits),
        "regret": _regret(plan, splits),
        "tasks": _tasks(plan, splits),
    }
    if any(split.texts for split in splits):
        tables["perplexity"] = _perplexity(splits)
    for row in findings.test.routers:
        cells = [
            (t, r) for t, counts in enumerate(row.confusion) for r, count in enumerate(counts) for _ in range(count)
        ]
        tables[f"confusion_{row.router}"] = pd.DataFrame(cells, columns=["actual", "predicted"])
    return tables


def write_metrics(plan: Plan, findings: Findings, path: Path) -> None:
    """Write metrics.json."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(metrics(plan, findings), indent=2) + "\n")


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
            "compute": 1 - level, **_ends(gap),
        }
        for split in splits
        for row in [*split.differences, *split.controls]
        for level, gap in _entries(split, row)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["split", "method", "reference", "compute", "difference", "low", "high"])


def _entries(split: SplitFindings, row: Comparison) -> list[tuple[float, Interval]]:
    return [(level, gap) for level, gap in zip(split.levels, row.at_levels, strict=True) if gap is not None]


def _agreement(splits: Iterable[SplitFindings]) -> pd.DataFrame:
    rows = [
        {
            "split": split.split, "label": row.label.name, "nmi": row.found.nmi.value, "nmi_low": row.found.nmi.low,
            "nmi_high": row.found.nmi.high, "ari": row.found.ari.value, "ari_low": row.found.ari.low,
            "ari_high": row.found.ari.high, "chance_nmi": row.chance.nmi.value if row.chance else None,
        }
        for split in splits
        for row in split.agreements
    ]  # fmt: skip
    columns = ["split", "label", "nmi", "nmi_low", "nmi_high", "ari", "ari_low", "ari_high", "chance_nmi"]
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


def _in_points(name: str, interval: Interval) -> dict[str, float]:
    return {end: 100 * value for end, value in _ends_of(name, interval).items()}


def _ends_of(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}.mean": interval.value, f"{name}.low": interval.low, f"{name}.high": interval.high}


def _place(point: Point | TextPoint) -> str:
    """Method and target as part of a metric's name; the dense model has no target."""
    return point.method.name if point.method.is_dense else f"{point.method.name}.{_percent(point.target)}"


def _percent(target: float) -> str:
    return f"{100 * target:g}".replace(".", "_")
