"""The primary comparison in sentences: what it was made on, whether it answers RQ2, and what difference it resolves.

Half of an interval is the difference that would just have excluded zero: a smaller one cannot be told from none,
however real it is. `ONE_POINT` is what was asked for before the numbers were known.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.configurations import Configuration
from pipeline.report.analysis.findings import Findings, Primary
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.wording import listed, points_interval, target_name

ONE_POINT = 0.01


def ground_sentences(findings: Findings, configuration: Configuration) -> list[str]:
    """On which samples RQ2 is answered for `configuration`, and what that resolves; none where there is no choice."""
    primary = findings.primary
    shared = f"the {findings.test.samples:,} test samples that every method was evaluated on"
    if primary is None:
        return []
    if findings.answering is findings.test:
        return [
            "The primary comparison has no routed method of the configuration that decides, so this is "
            f"answered from {shared}."
        ]
    routed = [row for row in primary.found.gains if row.method in configuration.routed]
    return [
        f"Answered from the primary comparison: {primary.found.samples:,} test samples, target"
        f"{'s' if len(primary.plan.targets) > 1 else ''} {_targets(primary.plan)}. What is said of other "
        "configurations is of "
        f"{shared}.",
        *resolution_sentences(primary.plan, routed),
    ]


def shared_sentences(findings: Findings, configuration: Configuration) -> list[str]:
    """What the groups of `configuration` add on the samples and targets that every method has, where that does not
    decide."""
    if findings.answering is findings.test:
        return []
    rows = [row for row in findings.test.gains if row.method in configuration.methods]
    named = [f"`{row.method.name}` {points_interval(row.mean)}" for row in rows]
    return [
        f"On the {findings.test.samples:,} test samples and the targets of all methods, which do not decide: "
        f"{listed(named)}."
    ]


def resolution_sentences(plan: Plan, rows: Sequence[Comparison]) -> list[str]:
    """Half of the interval of every pair, target by target, and at which targets one point is resolved."""
    return [_resolution(plan, row) for row in rows if any(half is not None for half in row.half_widths)]


def summary(primary: Primary) -> str:
    """What was compared, for the head of the section."""
    sparse = listed([f"`{method.name}`" for method in primary.plan.sparse])
    return (
        f"{sparse} at {_targets(primary.plan)} target sparsity, on {primary.found.samples:,} test samples, the dense "
        "model on the same."
    )


def _resolution(plan: Plan, row: Comparison) -> str:
    known = {target: half for target, half in zip(plan.targets, row.half_widths, strict=True) if half is not None}
    fine = [target_name(target) for target, half in known.items() if half <= ONE_POINT]
    where = (
        "at none of them" if not fine else "at all of them" if len(fine) == len(known) else f"at {listed(fine)} only"
    )
    widths = listed([f"{_points(half)} at {target_name(target)}" for target, half in known.items()])
    return (
        f"Half of the {target_name(plan.confidence)} interval of `{row.method.name}` minus `{row.reference.name}` in "
        f"points: {widths}. So a difference of {_points(max(known.values()))} points is resolved at all these targets, "
        f"one of {100 * ONE_POINT:.0f} point {where}."
    )


def _targets(plan: Plan) -> str:
    return listed([target_name(target) for target in plan.targets])


def _points(fraction: float) -> str:
    """Rounded up, so that nothing is said to be resolved that is not: 0.0101 -> "1.1"."""
    return f"{-(-round(1000 * fraction, 6) // 1) / 10:.1f}"
