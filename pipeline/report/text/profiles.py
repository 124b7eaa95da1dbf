"""Sentences about RQ2: the gains of routed profiles, those that survive correction, and the gains of controls.

Random groups of the same sizes have as many profiles, fitted to as many samples each. What they gain over the pooled
profile is due to having several profiles; only what routed groups gain over THEM is due to the groups' information.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.configurations import Configuration, configuration_name
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.matched_compute import are_alike
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.refit_variance import RefitVariance
from pipeline.report.analysis.task_differences import TaskComparison, TaskGap
from pipeline.report.text.primary_comparison import ground_sentences, shared_sentences
from pipeline.report.text.recovery import recovery_sentences
from pipeline.report.text.refit_variance import refit_variance_sentences
from pipeline.report.text.targets import target_sentences
from pipeline.report.text.wording import compute_range, listed, method_names, p_equals, points, points_interval
from pipeline.statistics.significance import fewest_replicates


def profile_sentences(
    plan: Plan, findings: Findings, configuration: Configuration, *, has_gain: bool
) -> tuple[str, ...]:
    """The answer to RQ2, decided on `configuration`: gains of routed and random groups, and refit variance."""
    gains = gains_on(findings, configuration)
    routed = [row for row in gains if row.method.is_routed]
    return (
        *_against_pooled(routed, findings.answering.samples),
        *_over_tasks(routed),
        *([] if has_gain else [_ruled_out(max(row.mean.high for row in routed))]),
        *target_sentences(routed, [row for row in gains if row.method.is_control]),
        *_against_random(plan, findings, configuration),
        *refit_variance_sentences(plan, refit_variance_on(findings, configuration)),
    )


def profile_grounds(plan: Plan, findings: Findings, configuration: Configuration) -> tuple[str, ...]:
    """The grounds of that answer: the choice of the configuration, the samples, the resolution, other comparisons."""
    gains = gains_on(findings, configuration)
    return (
        *_decided_on(plan, findings, configuration),
        *ground_sentences(findings, configuration),
        *_corrected(plan, gains),
        *_controls(gains),
        *shared_sentences(findings, configuration),
        *_elsewhere(findings, configuration),
        *_pooled(plan, findings),
    )


def gains_on(findings: Findings, configuration: Configuration) -> list[Comparison]:
    """The gains of a configuration's groups over its pooled method, on the samples that answer RQ2."""
    return [row for row in findings.answering.gains if row.method in configuration.methods]


def refit_variance_on(findings: Findings, configuration: Configuration) -> list[RefitVariance]:
    """Refit variance beside the gains of a configuration's routed methods, on the samples that answer RQ2."""
    return [row for row in findings.answering.refit_variance if row.method in configuration.routed]


def beats_controls(plan: Plan, findings: Findings, method: Method) -> bool:
    """Whether the method is claimed to be above every random control it was compared with; False without a control."""
    rows = [row for row in findings.answering.controls if row.method == method]
    return bool(rows) and all(row.is_better(plan.alpha) for row in rows)


def task_sentence(plan: Plan, comparison: TaskComparison) -> str:
    """The worst and the best task of a comparison, and the tasks on which a difference is shown."""
    tasks = len(comparison.rows)
    worst, best = (f"{row.task} {points_interval(row.gap)}" for row in (comparison.rows[0], comparison.rows[-1]))
    if plan.bootstrap < fewest_replicates(tasks, plan.alpha):
        tail = f"{plan.bootstrap:,} replicates are too few to claim any of {tasks} differences"
    else:
        above, below = (_task_names(comparison.claimed(plan.alpha, sign)) for sign in (1, -1))
        tail = f"corrected for {tasks} tasks, {above} above and {below} below zero"
    return (
        f"`{comparison.method.name}` minus `{comparison.reference.name}` (at "
        f"{compute_range(comparison.savings)} of the "
        f"dense FLOPs): worst on {worst}, best on {best}; {tail}."
    )


def _task_names(rows: Sequence[TaskGap]) -> str:
    return f"{len(rows)} ({listed([row.task for row in rows])})" if rows else "none"


def _decided_on(plan: Plan, findings: Findings, configuration: Configuration) -> list[str]:
    """The configuration that decides, where there was a choice."""
    others = {row.reference for row in findings.test.gains if row.method.is_routed} - {configuration.pooled}
    if not others or configuration.pooled is None:
        return []
    return [
        f"Decided on {configuration_name(plan, configuration)}: of the configurations with routed groups, its pooled "
        f"profile `{configuration.pooled.name}` is the most accurate at matched compute."
    ]


def _against_pooled(routed: Sequence[Comparison], samples: int) -> list[str]:
    """The mean gains of routed methods, and the compute at which each is measured."""
    first = routed[0]
    start = f"Routed profiles against `{first.reference.name}` at matched compute"
    count = sum(saving is not None for saving in first.savings)
    mean = f"mean over {count} targets" if count > 1 else "at one target"
    tail = f"on {samples:,} test samples, in points of accuracy"
    remaining = [f"{compute_range(row.savings)} of the dense FLOPs remain" for row in routed]
    if all(are_alike(row.savings, first.savings) for row in routed):
        return [f"{start} ({remaining[0]}), {mean}, {tail}: {listed([_mean(row) for row in routed])}."]
    own = [f"{_mean(row)} ({where})" for row, where in zip(routed, remaining, strict=True)]
    return [
        f"{start}, mean over targets, {tail}: {'; '.join(own)}.",
        "These pairs are compared at different compute, so their means are not on one scale.",
    ]


def _over_tasks(routed: Sequence[Comparison]) -> list[str]:
    """The same means with the interval of the bootstrap over tasks."""
    rows = [(row.method, row.over_tasks) for row in routed if row.over_tasks is not None]
    shown = [f"`{method.name}` {points_interval(interval)}" for method, interval in rows]
    return [f"With the bootstrap over tasks: {listed(shown)}."] if shown else []


def _ruled_out(limit: float) -> str:
    gain = "any gain" if limit <= 0 else f"a gain of more than {points(limit).removeprefix('+')} points"
    return f"The intervals rule out {gain}."


def _corrected(plan: Plan, rows: Sequence[Comparison]) -> list[str]:
    """The differences from the pooled method that survive the correction for their number, and those that do not."""
    if len(rows) < 2:
        return []
    better = [row for row in rows if row.is_better(plan.alpha)]
    worse = [row for row in rows if row.is_worse(plan.alpha)]
    lost = [row for row in rows if not row.is_claimed(plan.alpha) and (row.mean.low > 0 or row.mean.high < 0)]
    shown = [
        f"{_with_p(part)} {'are' if len(part) > 1 else 'is'} shown to be {side}"
        for part, side in ((better, "above"), (worse, "below"))
        if part
    ]
    outcome = f"{listed(shown)} it" if shown else "no method is shown to differ from it"
    start = f"After Holm's correction for {len(rows)} comparisons with `{rows[0].reference.name}`"
    return [f"{start}, {outcome}."] + (
        [f"For {_with_p(lost)}, only the uncorrected interval excludes zero."] if lost else []
    )


def _with_p(rows: Sequence[Comparison]) -> str:
    """The methods, with the largest of their corrected p-values."""
    largest = p_equals(max(row.p_corrected for row in rows))
    return f"{method_names(row.method for row in rows)} ({'each at most ' if len(rows) > 1 else ''}{largest})"


def _controls(gains: Sequence[Comparison]) -> list[str]:
    shown = [_mean(row) for row in gains if not row.method.is_routed]
    return [f"Controls against the same pooled profile: {listed(shown)}."] if shown else []


def _against_random(plan: Plan, findings: Findings, configuration: Configuration) -> list[str]:
    """Every routed method minus the draws of random groups, and the conclusion."""
    gained = {row.method for row in gains_on(findings, configuration) if row.is_better(plan.alpha)}
    sentences: list[str] = []
    for method in configuration.routed:
        rows = [row for row in findings.answering.controls if row.method == method]
        if not rows:
            continue
        if beats_controls(plan, findings, method):
            conclusion = "the groups carry information that random groups do not"
        elif any(row.is_worse(plan.alpha) for row in rows):
            conclusion = "random groups did better"
        elif method not in gained:
            conclusion = "it is not shown to differ from all of them"
        else:
            conclusion = "its gain is not shown to come from the groups' information"
        measured = [f"`{row.reference.name}` {points_interval(row.mean)}, {p_equals(row.p_corrected)}" for row in rows]
        sentences.append(
            f"`{method.name}` minus random groups of the same sizes: {'; '.join(measured)}; so {conclusion}."
        )
    return sentences


def _elsewhere(findings: Findings, configuration: Configuration) -> list[str]:
    """The gains of routed groups on the other configurations."""
    rows = [row for row in findings.test.gains if row.method.is_routed and row.method not in configuration.methods]
    shown = [f"{_mean(row)} over `{row.reference.name}`" for row in rows]
    return [f"On other configurations (not deciding): {listed(shown)}."] if shown else []


def _pooled(plan: Plan, findings: Findings) -> list[str]:
    """The gains of other pooled profiles, for comparison with those of groups."""
    rows = [row for row in findings.test.differences if row.method.is_pooled]
    shown = [f"{_mean(row)}{'' if row.is_claimed(plan.alpha) else ' (not significant)'}" for row in rows]
    sentences = [f"Other pooled profiles against `{plan.baseline}`: {listed(shown)}."] if shown else []
    sentences += recovery_sentences(plan, findings.test.recoveries, findings.test.samples)
    if findings.primary is not None:
        accuracies = findings.primary.accuracies
        sentences += recovery_sentences(findings.primary.plan, accuracies.recoveries, accuracies.samples)
    return sentences


def _mean(row: Comparison) -> str:
    return f"`{row.method.name}` {points_interval(row.mean)}"
