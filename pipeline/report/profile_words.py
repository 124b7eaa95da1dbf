"""RQ2 in sentences made from the numbers: what routed profiles gain, what survives correction, and what controls gain.

Random groups of the same sizes have as many profiles, fitted to as many samples each. What they gain on the pooled
profile is gained by having several profiles; only what routed groups gain on THEM is due to what the groups mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.accuracy import Comparison
from pipeline.report.findings import Findings
from pipeline.report.plan import Method, Plan
from pipeline.report.wording import listed, p_equals, points, points_interval


def profile_sentences(
    plan: Plan, findings: Findings, routed: Sequence[Comparison], *, has_gain: bool
) -> tuple[str, ...]:
    """The answer to RQ2; `routed` are the differences of routed methods from the baseline."""
    limit = max(row.mean.high for row in routed)
    return (
        _against_baseline(plan, findings, routed),
        *_corrected(plan, findings),
        *_over_tasks(routed),
        *([] if has_gain else [_ruled_out(limit)]),
        *_controls(findings),
        *_against_random(plan, findings),
    )


def beats_controls(plan: Plan, findings: Findings, method: Method) -> bool:
    """Whether the method is claimed to be above every random control it was compared with; False without a control."""
    rows = [row for row in findings.test.controls if row.method == method]
    return bool(rows) and all(row.is_claimed(plan.alpha) and row.mean.value > 0 for row in rows)


def _against_baseline(plan: Plan, findings: Findings, routed: Sequence[Comparison]) -> str:
    measured = listed([f"`{row.method.name}` {points_interval(row.mean)}" for row in routed])
    count = len(findings.test.levels)
    over = f"averaged over {count} compute levels" if count > 1 else "at one compute level"
    start = f"Routed profiles against `{plan.baseline}` at equal realised compute"
    short = [f"`{row.method.name}`" for row in routed if None in row.at_levels]
    tail = f" {listed(short)} reaches only some of these levels and is averaged over them." if short else ""
    return f"{start}, {over}, in points of test accuracy: {measured}.{tail}"


def _corrected(plan: Plan, findings: Findings) -> list[str]:
    """Which differences from the baseline survive the correction for their number, and which only seem to."""
    rows = findings.test.differences
    if len(rows) < 2:
        return []
    better = [row for row in rows if row.is_claimed(plan.alpha) and row.mean.value > 0]
    worse = [row for row in rows if row.is_claimed(plan.alpha) and row.mean.value < 0]
    lost = [row for row in rows if not row.is_claimed(plan.alpha) and (row.mean.low > 0 or row.mean.high < 0)]
    start = f"Corrected for {len(rows)} comparisons with `{plan.baseline}` (Holm), "
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


def _controls(findings: Findings) -> list[str]:
    rows = [row for row in findings.test.differences if not row.method.is_routed and not row.method.is_pooled]
    named = [f"`{row.method.name}` {points_interval(row.mean)}" for row in rows]
    return [f"Controls against the same baseline: {listed(named)}."] if named else []


def _against_random(plan: Plan, findings: Findings) -> list[str]:
    """Every routed method minus the draws of random groups, and what follows from it."""
    rows = [row for row in findings.test.controls if row.method.is_routed]
    found: list[str] = []
    for method in dict.fromkeys(row.method for row in rows):
        mine = [row for row in rows if row.method == method]
        if beats_controls(plan, findings, method):
            says = "so the groups carry information that random groups do not"
        elif any(row.is_claimed(plan.alpha) and row.mean.value < 0 for row in mine):
            says = "so random groups did better"
        else:
            says = "so its gain is not shown to come from what the groups mean"
        measured = [f"`{r.reference.name}` {points_interval(r.mean)}, {p_equals(r.p_corrected)}" for r in mine]
        found.append(f"`{method.name}` minus random groups of the same sizes: {'; '.join(measured)}, {says}.")
    return found
