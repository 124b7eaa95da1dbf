"""RQ2 in sentences made from the numbers: what routed profiles gain, what survives correction, and what controls gain.

Random groups of the same sizes have as many profiles, fitted to as many samples each. What they gain on the pooled
profile is gained by having several profiles; only what routed groups gain on THEM is due to what the groups mean.
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
from pipeline.report.text.wording import level_span, listed, p_equals, points, points_interval
from pipeline.statistics.significance import fewest_replicates


def profile_sentences(
    plan: Plan, findings: Findings, configuration: Configuration, *, has_gain: bool
) -> tuple[str, ...]:
    """The answer to RQ2, decided on `configuration`: what routed groups gain, what random ones do, and what fits
    differ by."""
    rows = gains_on(findings, configuration)
    routed = [row for row in rows if row.method.is_routed]
    return (
        *_against_pooled(routed, findings.answering.samples),
        *_over_tasks(routed),
        *([] if has_gain else [_ruled_out(max(row.mean.high for row in routed))]),
        *target_sentences(routed, [row for row in rows if row.method.is_control]),
        *_against_random(plan, findings, configuration),
        *refit_variance_sentences(plan, [row for row in noise_on(findings, configuration) if row.method.is_routed]),
    )


def profile_grounds(plan: Plan, findings: Findings, configuration: Configuration) -> tuple[str, ...]:
    """What stands behind that answer: why this configuration, on which samples, what is resolved, and all other
    comparisons."""
    rows = gains_on(findings, configuration)
    return (
        *_decided_on(plan, findings, configuration),
        *ground_sentences(findings, configuration),
        *_corrected(plan, rows),
        *_controls(rows),
        *shared_sentences(findings, configuration),
        *_elsewhere(plan, findings, configuration),
        *_pooled(plan, findings),
    )


def gains_on(findings: Findings, configuration: Configuration) -> list[Comparison]:
    """What the groups of a configuration add to its pooled method, where RQ2 is answered."""
    return [row for row in findings.answering.gains if row.method in configuration.methods]


def noise_on(findings: Findings, configuration: Configuration) -> list[RefitVariance]:
    """What the fits of a configuration differ by, beside the gains of its grouped methods, where RQ2 is answered."""
    return [row for row in findings.answering.refit_variance if row.method in configuration.methods]


def beats_controls(plan: Plan, findings: Findings, method: Method) -> bool:
    """Whether the method is claimed to be above every random control it was compared with; False without a control."""
    rows = [row for row in findings.answering.controls if row.method == method]
    return bool(rows) and all(row.is_claimed(plan.alpha) and row.mean.value > 0 for row in rows)


def task_sentence(plan: Plan, found: TaskComparison) -> str:
    """The worst and the best task of a comparison, and those on which a difference is shown."""
    pair = f"`{found.method.name}` minus `{found.reference.name}` (at {level_span(found.levels)} of the dense FLOPs)"
    worst, best = found.rows[0], found.rows[-1]
    ends = f"worst on {_task(worst)}, best on {_task(best)}"
    tasks = len(found.rows)
    if plan.bootstrap < fewest_replicates(tasks, plan.alpha):
        tail = f"{plan.bootstrap:,} replicates are too few to claim any of {tasks} differences"
    else:
        shown = [_shown(found.claimed(plan.alpha, sign), place) for sign, place in ((1, "above"), (-1, "below"))]
        tail = f"corrected for {tasks} tasks, {listed(shown)} zero"
    return f"{pair}: {ends}; {tail}."


def _task(row: TaskGap) -> str:
    return f"{row.task} {points_interval(row.gap)}"


def _shown(rows: Sequence[TaskGap], place: str) -> str:
    named = f" ({listed([row.task for row in rows])})" if rows else ""
    return f"{len(rows) or 'none'}{named} {place}"


def _decided_on(plan: Plan, findings: Findings, configuration: Configuration) -> list[str]:
    """Which configuration it is, where there was a choice."""
    others = {row.reference for row in findings.test.gains if row.method.is_routed} - {configuration.pooled}
    if not others or configuration.pooled is None:
        return []
    return [
        f"Decided on {configuration_name(plan, configuration)}: of the configurations with routed groups its "
        "pooled profile, "
        f"`{configuration.pooled.name}`, is the most accurate at equal compute."
    ]


def _against_pooled(routed: Sequence[Comparison], samples: int) -> list[str]:
    """What routed methods gain on average, and at how much compute."""
    reference = routed[0].reference.name
    start = f"Routed profiles against `{reference}` on {samples:,} test samples at equal realised compute"
    named = [f"`{row.method.name}` {points_interval(row.mean)}" for row in routed]
    if all(are_alike(row.levels, routed[0].levels) for row in routed):
        return [f"{start}, {_read_at(routed[0])}, in points of test accuracy: {listed(named)}."]
    own = [f"{text}, {_read_at(row)}" for text, row in zip(named, routed, strict=True)]
    return [
        f"{start}, in points of test accuracy: {'; '.join(own)}.",
        "Each pair is read as far as both of it reach; means over other levels are not on one scale.",
    ]


def _read_at(row: Comparison) -> str:
    count = sum(level is not None for level in row.levels)
    over = f"averaged over {count} levels, one a target," if count > 1 else "at one level,"
    return f"{over} where {level_span(row.levels)} of the dense FLOPs remain"


def _corrected(plan: Plan, rows: Sequence[Comparison]) -> list[str]:
    """Which differences from the pooled method survive the correction for their number, and which only seem to."""
    if len(rows) < 2:
        return []
    better = [row for row in rows if row.is_claimed(plan.alpha) and row.mean.value > 0]
    worse = [row for row in rows if row.is_claimed(plan.alpha) and row.mean.value < 0]
    lost = [row for row in rows if not row.is_claimed(plan.alpha) and (row.mean.low > 0 or row.mean.high < 0)]
    start = f"Corrected for {len(rows)} comparisons with `{rows[0].reference.name}` (Holm), "
    shown = [f"{_named(some)} {word} shown to be {place}" for some, word, place in _places(better, worse)]
    found = [f"{start}{listed(shown)} it." if shown else f"{start}no method is shown to differ from it."]
    if lost:
        found.append(f"Not so {_named(lost)}: only the uncorrected interval excludes zero.")
    return found


def _places(better: Sequence[Comparison], worse: Sequence[Comparison]) -> list[tuple[Sequence[Comparison], str, str]]:
    parts = ((better, "above"), (worse, "below"))
    return [(some, "are" if len(some) > 1 else "is", place) for some, place in parts if some]


def _named(rows: Sequence[Comparison]) -> str:
    """The methods, with the largest of their corrected p-values."""
    largest = p_equals(max(row.p_corrected for row in rows))
    return f"{listed([f'`{row.method.name}`' for row in rows])} ({'each at most ' if len(rows) > 1 else ''}{largest})"


def _over_tasks(routed: Sequence[Comparison]) -> list[str]:
    """What is left of the routed methods' differences when tasks are redrawn as well."""
    known = [f"`{row.method.name}` {points_interval(row.over_tasks)}" for row in routed if row.over_tasks is not None]
    return [f"With tasks redrawn as well: {listed(known)}."] if known else []


def _ruled_out(limit: float) -> str:
    if limit <= 0:
        return "Any gain is ruled out by the intervals."
    return f"The intervals rule out a gain of more than {points(limit).removeprefix('+')} points."


def _controls(rows: Sequence[Comparison]) -> list[str]:
    named = [f"`{row.method.name}` {points_interval(row.mean)}" for row in rows if not row.method.is_routed]
    return [f"Controls against the same pooled profile: {listed(named)}."] if named else []


def _against_random(plan: Plan, findings: Findings, configuration: Configuration) -> list[str]:
    """Every routed method minus the draws of random groups, and what follows from it."""
    rows = [row for row in findings.answering.controls if row.method in configuration.routed]
    gained = {r.method for r in gains_on(findings, configuration) if r.is_claimed(plan.alpha) and r.mean.value > 0}
    found: list[str] = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        if beats_controls(plan, findings, method):
            says = "so the groups carry information that random groups do not"
        elif any(row.is_claimed(plan.alpha) and row.mean.value < 0 for row in mine):
            says = "so random groups did better"
        elif method not in gained:
            says = "so it is not shown to differ from all of them"
        else:
            says = "so its gain is not shown to come from what the groups mean"
        measured = [f"`{r.reference.name}` {points_interval(r.mean)}, {p_equals(r.p_corrected)}" for r in mine]
        found.append(f"`{method.name}` minus random groups of the same sizes: {'; '.join(measured)}, {says}.")
    return found


def _elsewhere(plan: Plan, findings: Findings, configuration: Configuration) -> list[str]:
    """What routed groups gained on the other configurations."""
    rows = [row for row in findings.test.gains if row.method.is_routed and row.method not in configuration.methods]
    named = [f"`{row.method.name}` {points_interval(row.mean)} on `{row.reference.name}`" for row in rows]
    return [f"On other configurations, which do not decide: {listed(named)}."] if named else []


def _pooled(plan: Plan, findings: Findings) -> list[str]:
    """What a better pooled profile is worth, beside which the gain of groups must be seen."""
    rows = [row for row in findings.test.differences if row.method.is_pooled]
    named = [
        f"`{row.method.name}` {points_interval(row.mean)}{'' if row.is_claimed(plan.alpha) else ' (not claimed)'}"
        for row in rows
    ]
    found = [f"Other pooled profiles against `{plan.baseline}`: {listed(named)}."] if named else []
    return [*found, *recovery_sentences(plan, findings.test.recoveries, findings.test.samples), *_recovered(findings)]


def _recovered(findings: Findings) -> list[str]:
    primary = findings.primary
    return recovery_sentences(primary.plan, primary.found.recoveries, primary.found.samples) if primary else []
