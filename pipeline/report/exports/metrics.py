"""metrics.json: the headline numbers of `dvc metrics` and `dvc exp show`, few enough to be columns.

The names are of questions, not of methods, so runs with other methods, models or numbers of clusters stand side by side
(`python -m commands.compare`). Everything else is in the plot files (`pipeline/report/exports/plots.py`).
"""

from __future__ import annotations

from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.cards import safest
from pipeline.statistics.bootstrap import Interval

DECIMALS = 6


def metrics(plan: Plan, findings: Findings) -> dict[str, float]:
    """Flat name -> number, of held-out samples; what was not measured is left out.

    `accuracy.dense` and `accuracy.baseline` (at the sparsest target) are fractions; `gain.*` (RQ2: routed minus pooled;
    `tasks_*` over tasks), `pooled_gain.*` (the best pooled allocation minus the baseline), `regret.*` and `confirmed.*`
    (the questions of the study, on confirmation samples) are in points, or percent of perplexity;
    `clusters.*` are their number, the ARI of two halves and the highest NMI with a label; `router.*` the accuracy and
    the cost as a fraction of dense FLOPs; `safe.compute` the fewest FLOPs, as a fraction of dense, at a safe loss;
    `speedup` the largest at the smallest batch and shortest context.
    """
    answering, numbers = findings.answering, dict[str, float | None]()
    points = [point for point in answering.points if point.method.is_dense or point.method.name == plan.baseline]
    for point in points:
        numbers["accuracy.dense" if point.method.is_dense else "accuracy.baseline"] = point.accuracy.value
    gain, pooled = findings.deciding_gain, findings.best_pooled
    if gain is not None:
        numbers |= _points("gain", gain.mean)
        if gain.over_tasks is not None:
            numbers |= {"gain.tasks_low": 100 * gain.over_tasks.low, "gain.tasks_high": 100 * gain.over_tasks.high}
        regret = next((row.mean for row in answering.regrets if row.method == gain.method), None)
        router = next((row for row in findings.routers if row.router == gain.method.groups), None)
        numbers["router.accuracy"] = router and router.accuracy.value
        numbers["router.cost"] = router and router.fraction
        numbers["regret.mean"] = regret and 100 * regret.value
    if pooled is not None:
        numbers |= _points("pooled_gain", pooled.mean)
    for answer in findings.confirmed.answers if findings.confirmed else ():
        numbers |= _points(f"confirmed.{answer.question}", answer.interval)
    numbers["clusters.count"] = findings.quality.get("groups")
    numbers["clusters.stability"] = findings.quality.get("stability")
    numbers["clusters.nmi"] = max((row.agreement.nmi.value for row in findings.agreements), default=None)
    safe = safest(findings)
    numbers["safe.compute"] = safe and safe.compute
    timings = findings.latency.cells[0].timings if findings.latency.cells else ()
    numbers["speedup"] = max((timing.speedup.value for timing in timings if timing.is_deployable), default=None)
    return {name: round(value, DECIMALS) for name, value in numbers.items() if value is not None}


def _points(name: str, interval: Interval) -> dict[str, float]:
    ends = {"mean": interval.value, "low": interval.low, "high": interval.high}
    return {f"{name}.{end}": 100 * value for end, value in ends.items()}
