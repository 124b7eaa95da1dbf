"""Numbers for `dvc metrics` and `dvc exp show`.

Metrics are flat (`accuracy.wina.50` is test accuracy at the 50% target) and few enough to be columns; everything else
is in the plot files (`pipeline/report/exports/plots.py`). Differences are in percentage points, accuracies and other
fractions are fractions of 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison, Point
from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.evidence import total
from pipeline.report.analysis.findings import Findings, Primary
from pipeline.report.analysis.gradient import GradientFindings
from pipeline.report.analysis.perplexity import TextPoint, TextTask
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.analysis.refit_variance import RefitVariance
from pipeline.report.analysis.routers import RouterRow
from pipeline.report.analysis.variants import without_length
from pipeline.statistics.bootstrap import Interval

DECIMALS = 6


def metrics(plan: Plan, findings: Findings) -> dict[str, float]:
    """Flat name -> number, test split only.

    Accuracy:
        `accuracy.<method>.<target %>` (`accuracy.dense` has no target)
        `sparsity.<method>.<target %>.mean|sd|low|high`: realised sparsity over samples, 5th and 95th percentile
        `difference.<method>...`: against the baseline at matched compute, in points, as `.mean|low|high` over targets,
            `.tasks_low|tasks_high` (bootstrap over tasks), `.p` (corrected) and `.compute_most|compute_least`
            (remaining FLOPs at the first and last target, as a fraction of dense; means at other compute are on
            another scale)
        `gain.<method>...`: the same against the pooled method of its own configuration, with
            `.targets_above|targets_below`: targets at which the interval is above or below zero
        `refit_variance.<method>.draws|deviation|times`: replicates of random groups on its configuration, standard
            deviation of their gains in points, the method's gain in units of it
        `gap_recovered.<pooled method>.<target %>.fraction|low|high`: of the accuracy that the baseline loses
        `primary.samples`, `primary.gain.<method>...`, `primary.control.<method>.<reference>...` (as `gain`, with
            `.half_width.<target %>` of the interval in points), `primary.gap_recovered...`,
            `primary.refit_variance...`: of the primary comparison
    Text:
        `perplexity.<task>.<method>.<target %>`
        `log_perplexity_difference.<task>.<method>.<target %>.mean|low|high`: against the baseline at the same target,
            in nats per token
    Groups and routers:
        `nmi.<label>`, `ari.<label>`, `purity.<label>`, `nmi_p.<label>` (corrected), `nmi_without_length.<label>`
        `clusters.<measure>`, `gradient.groups`, `gradient.gain.<count or scheme>`
        `router.<router>.accuracy`, with `.new_task|new_template` (fitted without it)
        `benefit_router.<router>.abstained|benefit|new_task|new_template` (all but the first are mean log ratios)
        `regret.<method>.mean|low|high`, in points
    Cost:
        `allocation.<profile set>.tokens|evaluations`
        `speedup.<method>.<target %>`: at the smallest batch and shortest context, where decoding was timed
    """
    test = findings.test
    numbers: dict[str, float] = {}
    for point in test.points:
        numbers[f"accuracy.{_name(point)}"] = point.accuracy.value
        if not point.method.is_dense:
            numbers |= _sparsity(point)
    for row in (*test.differences, *test.gains):
        if row.reference.name == plan.baseline:
            numbers |= _comparison(f"difference.{row.method.name}", row)
    for row in test.gains:
        numbers |= _gain(f"gain.{row.method.name}", row)
    numbers |= _gap_recovered("gap_recovered", plan, test.recoveries)
    for row in test.refit_variance:
        numbers |= _refit_variance(f"refit_variance.{row.method.name}", row)
    numbers |= _primary(findings.primary)
    for row in test.agreements:
        numbers |= _agreement(row)
    for row in variant.rows if (variant := without_length(findings.variants)) else ():
        numbers[f"nmi_without_length.{row.label.name}"] = row.agreement.nmi.value
    for row in test.routers:
        numbers |= {
            f"router.{row.router}.accuracy": row.accuracy.value,
            **_unseen(f"router.{row.router}.accuracy", row),
        }
    for row in findings.benefit_routers:
        numbers |= _benefit_router(f"benefit_router.{row.router}", row)
    for row in test.regrets:
        numbers |= _in_points(f"regret.{row.method.name}", row.mean)
    for text in test.texts:
        numbers |= _text(text)
    for name, rows in findings.costs.items():
        numbers |= {f"allocation.{name}.{column}": total(rows, column) for column in ("tokens", "evaluations")}
    for timing in findings.latency.cells[0].timings if findings.latency.cells else ():
        numbers[f"speedup.{timing.method.name}.{_percent(timing.target)}"] = timing.speedup.value
    if findings.gradient is not None:
        numbers |= _gradient(findings.gradient)
    measures = {name: findings.quality.get(name) for name in ("groups", "silhouette", "stability")}
    numbers |= {f"clusters.{name}": value for name, value in measures.items() if value is not None}
    return {name: round(value, DECIMALS) for name, value in numbers.items()}


def _sparsity(point: Point) -> dict[str, float]:
    measured = {"mean": point.sparsity, "sd": point.deviation, "low": point.spread[0], "high": point.spread[1]}
    return {f"sparsity.{_name(point)}.{measure}": value for measure, value in measured.items()}


def _primary(primary: Primary | None) -> dict[str, float]:
    if primary is None or not primary.accuracies.points:
        return {}
    plan, accuracies = primary.plan, primary.accuracies
    numbers: dict[str, float] = {"primary.samples": accuracies.samples}
    comparisons = {f"primary.gain.{row.method.name}": row for row in accuracies.gains}
    comparisons |= {f"primary.control.{row.method.name}.{row.reference.name}": row for row in accuracies.controls}
    for name, row in comparisons.items():
        numbers |= _gain(name, row)
        for target, half_width in zip(plan.targets, row.half_widths, strict=True):
            if half_width is not None:
                numbers[f"{name}.half_width.{_percent(target)}"] = 100 * half_width
    numbers |= _gap_recovered("primary.gap_recovered", plan, accuracies.recoveries)
    for row in accuracies.refit_variance:
        numbers |= _refit_variance(f"primary.refit_variance.{row.method.name}", row)
    return numbers


def _gap_recovered(name: str, plan: Plan, rows: Sequence[Recovery]) -> dict[str, float]:
    return {
        f"{name}.{row.method.name}.{_percent(target)}.{end}": value
        for row in rows
        for target, interval in zip(plan.targets, row.fractions, strict=True)
        if interval is not None
        for end, value in (("fraction", interval.value), ("low", interval.low), ("high", interval.high))
    }


def _gain(name: str, row: Comparison) -> dict[str, float]:
    return {**_comparison(name, row), f"{name}.targets_above": row.above, f"{name}.targets_below": row.below}


def _comparison(name: str, row: Comparison) -> dict[str, float]:
    remaining = [1 - saving for saving in row.savings if saving is not None]
    numbers = {
        **_in_points(name, row.mean),
        f"{name}.p": row.p_corrected,
        f"{name}.compute_most": max(remaining),
        f"{name}.compute_least": min(remaining),
    }
    if row.over_tasks is not None:
        numbers |= {f"{name}.tasks_low": 100 * row.over_tasks.low, f"{name}.tasks_high": 100 * row.over_tasks.high}
    return numbers


def _refit_variance(name: str, row: RefitVariance) -> dict[str, float]:
    numbers = {f"{name}.draws": float(len(row.draws))}
    if row.scale.deviation is not None:
        numbers[f"{name}.deviation"] = 100 * row.scale.deviation
    if row.scale.times is not None:
        numbers[f"{name}.times"] = row.scale.times
    return numbers


def _agreement(row: LabelAgreement) -> dict[str, float]:
    label, agreement = row.label.name, row.agreement
    return {
        f"nmi.{label}": agreement.nmi.value,
        f"ari.{label}": agreement.ari.value,
        f"purity.{label}": agreement.purity.value,
        f"nmi_p.{label}": row.p_corrected,
    }


def _benefit_router(name: str, row: BenefitRouterRow) -> dict[str, float]:
    return {f"{name}.abstained": row.abstained.value, f"{name}.benefit": row.benefit.value, **_unseen(name, row)}


def _unseen(name: str, row: RouterRow | BenefitRouterRow) -> dict[str, float]:
    labels = {"new_task": row.new_task, "new_template": row.new_template}
    return {f"{name}.{label}": interval.value for label, interval in labels.items() if interval is not None}


def _text(text: TextTask) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for point in text.points:
        name = f"{text.task}.{_name(point)}"
        numbers[f"perplexity.{name}"] = point.perplexity.value
        if point.over_baseline is not None:
            numbers |= _interval(f"log_perplexity_difference.{name}", point.over_baseline)
    return numbers


def _gradient(gradient: GradientFindings) -> dict[str, float]:
    quality = gradient.quality
    gains = {row["count"]: row["mean"] for row in quality["gains"]}
    gains |= {scheme: row["mean"] for scheme, row in quality["schemes"].items()}
    return {"gradient.groups": quality["groups"], **{f"gradient.gain.{name}": gain for name, gain in gains.items()}}


def _in_points(name: str, interval: Interval) -> dict[str, float]:
    return {key: 100 * value for key, value in _interval(name, interval).items()}


def _interval(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}.mean": interval.value, f"{name}.low": interval.low, f"{name}.high": interval.high}


def _name(point: Point | TextPoint) -> str:
    """Method and target as part of a metric's name; the dense model has no target."""
    return point.method.name if point.method.is_dense else f"{point.method.name}.{_percent(point.target)}"


def _percent(target: float) -> str:
    """A target in percent without a dot, which separates names: 0.125 -> "12_5"."""
    return f"{100 * target:g}".replace(".", "_")
