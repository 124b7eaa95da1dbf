"""Sentences about the primary comparison: its samples, whether it answers RQ2, and its minimum detectable difference.

The minimum detectable difference is half of a paired interval: a smaller difference cannot be told from none.
`ONE_POINT` is the resolution that was required before the numbers were known.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.configurations import Configuration
from pipeline.report.analysis.findings import Findings, Primary
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.wording import listed, method_names, points_interval, target_name, target_names

ONE_POINT = 0.01


def ground_sentences(findings: Findings, configuration: Configuration) -> list[str]:
    """The samples that RQ2 is answered on and the difference they resolve; none without a primary comparison."""
    primary = findings.primary
    shared = f"the {findings.test.samples:,} test samples that every method was evaluated on"
    if primary is None:
        return []
    if findings.answering is findings.test:
        return [f"The primary comparison has no routed method of this configuration: the answer is from {shared}."]
    routed = [row for row in primary.accuracies.gains if row.method in configuration.routed]
    return [
        f"Answered from the primary comparison: {primary.accuracies.samples:,} test samples at "
        f"{_targets(primary.plan)}. "
        f"Other configurations are compared on {shared}.",
        *resolution_sentences(primary.plan, routed),
    ]


def shared_sentences(findings: Findings, configuration: Configuration) -> list[str]:
    """The gains of `configuration` on the samples and targets of all methods, where these do not decide."""
    if findings.answering is findings.test:
        return []
    rows = [row for row in findings.test.gains if row.method in configuration.methods]
    gains = listed([f"`{row.method.name}` {points_interval(row.mean)}" for row in rows])
    return [f"On the {findings.test.samples:,} test samples and the targets of all methods (not deciding): {gains}."]


def resolution_sentences(plan: Plan, rows: Sequence[Comparison]) -> list[str]:
    """The minimum detectable difference of every pair, and the targets at which one point is resolved."""
    return [_resolution(plan, row) for row in rows if any(half is not None for half in row.half_widths)]


def summary(primary: Primary) -> str:
    """The methods, targets and samples of the comparison, for the head of its section."""
    return (
        f"{method_names(primary.plan.sparse)} at {_targets(primary.plan)} and the dense model, on "
        f"{primary.accuracies.samples:,} test samples."
    )


def _resolution(plan: Plan, row: Comparison) -> str:
    widths = {target: half for target, half in zip(plan.targets, row.half_widths, strict=True) if half is not None}
    fine = [target for target, half in widths.items() if half <= ONE_POINT]
    where = "none of them" if not fine else "all of them" if len(fine) == len(widths) else f"{target_names(fine)} only"
    shown = listed([f"{_points(half)} at {target_name(target)}" for target, half in widths.items()])
    return (
        f"Minimum detectable difference (half of the {target_name(plan.confidence)} interval) of `{row.method.name}` "
        f"minus `{row.reference.name}`, in points: {shown}. A difference of {_points(max(widths.values()))} points is "
        f"resolved at all these targets, one of {100 * ONE_POINT:.0f} point at {where}."
    )


def _targets(plan: Plan) -> str:
    return f"target{'s' if len(plan.targets) > 1 else ''} {target_names(plan.targets)}"


def _points(fraction: float) -> str:
    """Rounded up, so that no difference is called resolved that is not: 0.0101 -> "1.1"."""
    return f"{-(-round(1000 * fraction, 6) // 1) / 10:.1f}"
