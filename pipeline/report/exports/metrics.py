"""Numbers for other tools: metrics.json for `dvc metrics` and `dvc exp show`.

Metrics are flat (`accuracy.wina.50` is test accuracy at the 50% target) and few enough to be columns; everything else
is in the plot files (`pipeline/report/exports/plots.py`). Differences are in percentage points, accuracies and shares
are fractions of 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.report.analysis.accuracy import Comparison, Point
from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.evidence import total
from pipeline.report.analysis.findings import Findings, Primary
from pipeline.report.analysis.perplexity import TextPoint
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.analysis.refit_variance import RefitVariance
from pipeline.report.analysis.routers import RouterRow
from pipeline.report.analysis.variants import without_length
from pipeline.report.exports.latency import latency_metrics
from pipeline.statistics.bootstrap import Interval
from wina_amp.atomic import replacing

DECIMALS = 6


def metrics(plan: Plan, findings: Findings) -> dict[str, float]:
    """Flat name -> number, test split only.

    `accuracy.<method>.<target %>` (`accuracy.dense` has no target), `sparsity.<method>.<target %>.mean|sd|low|high`
    (realised sparsity over samples, 5th and 95th percentile), `difference.<method>.mean|low|high` (points against the
    baseline at equal compute, averaged over the levels of the pair) with `.tasks_low|tasks_high` (tasks redrawn, too),
    `.p` (corrected) and `.compute_most|compute_least` (share of dense FLOPs that remains at the first and last level:
    means over other levels are on another scale), `gain.<method>...` the same against the pooled method of its own
    configuration with `.levels_above|levels_below` (levels whose interval excludes zero),
    `refit_variance.<method>.draws|deviation|times` (random groups of its configuration, standard deviation of their
    gains in points, the method's gain in units of it), `primary.samples` and `primary.gain.<method>...`,
    `primary.control.<method>.<reference>...` as `gain...`, on all test samples at the primary targets, with
    `.half_width.<target %>` (of the interval, in points) and `primary.refit_variance.<method>...`, `recovered.<pooled
    method>.<target %>.share|low|high` (of the accuracy that the baseline loses, at equal compute) and
    `primary.recovered...`, `allocation.<profile set>.tokens|evaluations`, `speedup.<method>.<target %>` where decoding
    was timed, `nmi.<label>`, `ari.<label>`, `purity.<label>`, `nmi_p.<label>` (corrected),
    `nmi_without_length.<label>`, `router.<router>.accuracy` with `.new_task|new_template` (fitted without it),
    `gate.<gate>.abstained|brings|new_task|new_template` (all but the first are log ratios),
    `regret.<method>.mean|low|high` (points), `clusters.<measure>`; on text `perplexity.<task>.<method>.<target %>` and,
    against the baseline at the same target, `log_perplexity_difference.<task>.<method>.<target %>.mean|low|high` (nats
    per token).
    """
    test = findings.test
    found: dict[str, float] = {}
    for point in test.points:
        found[f"accuracy.{_place(point)}"] = point.accuracy.value
        if not point.method.is_dense:
            found |= _spread(point)
    for row in (*test.differences, *test.gains):
        if row.reference.name == plan.baseline:
            found |= _comparison(f"difference.{row.method.name}", row)
    for row in test.gains:
        found |= _gain(f"gain.{row.method.name}", row)
    found |= _recoveries("recovered", plan, test.recoveries)
    for row in test.refit_variance:
        found |= _refit_variance(f"refit_variance.{row.method.name}", row)
    found |= _primary(findings.primary)
    for row in test.agreements:
        found |= _agreement_of(row)
    for row in apart.rows if (apart := without_length(findings.variants)) else ():
        found[f"nmi_without_length.{row.label.name}"] = row.found.nmi.value
    for row in test.routers:
        found[f"router.{row.router}.accuracy"] = row.accuracy.value
        found |= _unmet(f"router.{row.router}.accuracy", row)
    for row in findings.benefit_routers:
        found |= {f"gate.{row.gate}.abstained": row.abstained.value, f"gate.{row.gate}.brings": row.brings.value}
        found |= _unmet(f"gate.{row.gate}", row)
    for row in test.regrets:
        found |= _in_points(f"regret.{row.method.name}", row.mean)
    for text in test.texts:
        for one in text.points:
            found[f"perplexity.{text.task}.{_place(one)}"] = one.perplexity.value
            if one.over_baseline is not None:
                found |= _ends_of(f"log_perplexity_difference.{text.task}.{_place(one)}", one.over_baseline)
    for name, rows in findings.costs.items():
        found[f"allocation.{name}.tokens"] = total(rows, "tokens")
        found[f"allocation.{name}.evaluations"] = total(rows, "evaluations")
    found |= latency_metrics(findings.latency)
    if findings.gradient is not None:
        quality = findings.gradient.quality
        found["gradient.groups"] = quality["groups"]
        found |= {f"gradient.gain.{one['count']}": one["mean"] for one in quality["gains"]}
        found |= {f"gradient.gain.{name}": one["mean"] for name, one in quality["schemes"].items()}
    measures = {name: findings.quality.get(name) for name in ("groups", "silhouette", "stability")}
    found |= {f"clusters.{name}": value for name, value in measures.items() if value is not None}
    return {name: round(value, DECIMALS) for name, value in found.items()}


def write_metrics(plan: Plan, findings: Findings, path: Path) -> None:
    """Write metrics.json."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(metrics(plan, findings), indent=2) + "\n")


def _spread(point: Point) -> dict[str, float]:
    measured = {"mean": point.sparsity, "sd": point.deviation, "low": point.spread[0], "high": point.spread[1]}
    return {f"sparsity.{_place(point)}.{name}": value for name, value in measured.items()}


def _primary(primary: Primary | None) -> dict[str, float]:
    if primary is None or not primary.found.points:
        return {}
    found: dict[str, float] = {"primary.samples": primary.found.samples}
    named = {f"primary.gain.{row.method.name}": row for row in primary.found.gains}
    named |= {f"primary.control.{row.method.name}.{row.reference.name}": row for row in primary.found.controls}
    for name, row in named.items():
        found |= _gain(name, row)
        found |= {
            f"{name}.half_width.{100 * target:g}": 100 * half
            for target, half in zip(primary.plan.targets, row.half_widths, strict=True)
            if half is not None
        }
    found |= _recoveries("primary.recovered", primary.plan, primary.found.recoveries)
    for row in primary.found.refit_variance:
        found |= _refit_variance(f"primary.refit_variance.{row.method.name}", row)
    return found


def _recoveries(name: str, plan: Plan, rows: Sequence[Recovery]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        for target, fraction in zip(plan.targets, row.fractions, strict=True):
            if fraction is not None:
                place = f"{name}.{row.method.name}.{100 * target:g}"
                found |= {
                    f"{place}.share": fraction.value,
                    f"{place}.low": fraction.low,
                    f"{place}.high": fraction.high,
                }
    return found


def _gain(name: str, row: Comparison) -> dict[str, float]:
    return {**_comparison(name, row), f"{name}.levels_above": row.above, f"{name}.levels_below": row.below}


def _comparison(name: str, row: Comparison) -> dict[str, float]:
    found = {**_in_points(name, row.mean), f"{name}.p": row.p_corrected}
    known = [1 - level for level in row.levels if level is not None]
    found |= {f"{name}.compute_most": max(known), f"{name}.compute_least": min(known)}
    if row.over_tasks is not None:
        found |= {f"{name}.tasks_low": 100 * row.over_tasks.low, f"{name}.tasks_high": 100 * row.over_tasks.high}
    return found


def _refit_variance(name: str, row: RefitVariance) -> dict[str, float]:
    scale = row.scale
    found = {f"{name}.draws": float(len(row.draws))}
    if scale.deviation is not None:
        found[f"{name}.deviation"] = 100 * scale.deviation
    return found if scale.times is None else {**found, f"{name}.times": scale.times}


def _agreement_of(row: LabelAgreement) -> dict[str, float]:
    label, found = row.label.name, row.found
    return {
        f"nmi.{label}": found.nmi.value,
        f"ari.{label}": found.ari.value,
        f"purity.{label}": found.purity.value,
        f"nmi_p.{label}": row.p_corrected,
    }


def _unmet(name: str, row: RouterRow | BenefitRouterRow) -> dict[str, float]:
    both = {"new_task": row.new_task, "new_template": row.new_template}
    return {f"{name}.{label}": value.value for label, value in both.items() if value is not None}


def _in_points(name: str, interval: Interval) -> dict[str, float]:
    return {end: 100 * value for end, value in _ends_of(name, interval).items()}


def _ends_of(name: str, interval: Interval) -> dict[str, float]:
    return {f"{name}.mean": interval.value, f"{name}.low": interval.low, f"{name}.high": interval.high}


def _place(point: Point | TextPoint) -> str:
    """Method and target as part of a metric's name; the dense model has no target."""
    return point.method.name if point.method.is_dense else f"{point.method.name}.{_percent(point.target)}"


def _percent(target: float) -> str:
    return f"{100 * target:g}".replace(".", "_")
