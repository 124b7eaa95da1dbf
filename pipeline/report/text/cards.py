"""The answers: a headline and one card for each research question.

A card is a few words, one number with its interval and at most two sentences; further facts are folded. All cards read
the samples that decide RQ2 (`Findings.answering`), and RQ3 asks RQ2's decision whether groups matter, so that no two of
them can contradict each other. No method or label is named here: the same code must be able to say the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.analysis.accuracy import Comparison, Point
from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.findings import Accuracies, Findings
from pipeline.report.analysis.labels import candidates
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RegretRow
from pipeline.report.analysis.variants import without_length
from pipeline.report.text.decision import RELEVANT, Decision, decide
from pipeline.report.text.latency import latency_answer
from pipeline.report.text.names import display_name, groups_word
from pipeline.report.text.wording import (
    listed,
    number,
    number_interval,
    p_equals,
    percent,
    percent_interval,
    points,
    points_interval,
    target_name,
    target_range,
)
from pipeline.statistics.bootstrap import Interval

STABLE = 0.6
"""Groups count as reproducible when two clusterings from disjoint halves of the training samples agree with at least
this ARI.
"""
MOSTLY, PARTLY = 0.5, 0.1
"""NMI from which groups follow a label mostly, or partly."""
NEGLIGIBLE = 0.01
"""Regret (fraction of samples) whose interval must stay below this for a router to count as good enough."""
ONE_FIT = "Yes, for this fit"
"""No interval resamples fits, so a gain is claimed of the profiles that were fitted once."""
NO_ACCURACY = "No sample can be right or wrong: text has only a perplexity, which is shown below."


@dataclass(frozen=True)
class Card:
    """`key` is RQ1 to RQ4, `tone` is `yes`, `no` or `open`; `number` is the one number, `unit` says what it is."""

    key: str
    question: str
    tone: str
    answer: str
    number: str = ""
    unit: str = ""
    sentences: tuple[str, ...] = ()
    folded: tuple[str, ...] = ()


def cards(plan: Plan, findings: Findings) -> list[Card]:
    """In the order of the page: RQ2, RQ1, RQ3, RQ4."""
    decision = gain_decision(plan, findings)
    return [
        _profiles(plan, findings, decision),
        _clusters(plan, findings),
        _routing(plan, findings, decision),
        _tradeoff(plan, findings),
    ]


def headline(plan: Plan, findings: Findings) -> str:
    """One sentence that answers: what groups gain, and what a better pooled allocation gains."""
    row, pooled = findings.deciding_gain, findings.best_pooled
    parts: list[str] = []
    if row is not None:
        groups, where = f"Routed {groups_word(row.method)}", _where(findings, row)
        is_gain = decide(intervals(row)).tone == "yes"
        if is_gain or row.mean.high < 0:
            parts.append(f"{groups} {'gain' if is_gain else 'lose'} {_amount(row.mean)} points {where}")
        else:
            shown = points_interval(row.mean)
            parts.append(f"{groups} are not shown to beat one pooled profile: {shown} points {where}")
    if pooled is not None and (pooled.mean.low > 0 or not parts):
        verb = "gains" if pooled.mean.value >= 0 else "loses"
        parts.append(f"a better pooled allocation ({pooled.method.allocation}) {verb} {_amount(pooled.mean)}")
    if not parts:
        return NO_ACCURACY if not findings.test.points else "No routed method was compared with a pooled one."
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def gain_decision(plan: Plan, findings: Findings) -> Decision | None:
    """RQ2's decision; None where nothing decides. A gain must also be above every random control of its size that was
    run."""
    row = findings.deciding_gain
    if row is None:
        return None
    decision = decide(intervals(row))
    if decision.tone != "yes":
        return decision
    controls = [control for control in findings.answering.controls if control.method == row.method]
    if not row.is_claimed(plan.alpha):
        return Decision("open", "Undecided: not after correction")
    if not all(control.is_better(plan.alpha) for control in controls):
        return Decision("open", "A gain, but random groups gain too")
    return Decision("yes", ONE_FIT)


def safest(findings: Findings) -> Point | None:
    """The operating point with the fewest FLOPs that is shown to lose less than would matter, of methods that can be
    deployed; None where there is none."""
    points = [p for p in findings.answering.points if p.method.is_pooled or p.method.is_routed]
    return min((p for p in points if p.loss.high < RELEVANT), key=lambda point: point.compute, default=None)


def intervals(row: Comparison) -> list[Interval]:
    """Every interval of the mean difference: over samples and, where there are enough tasks, over tasks."""
    return [row.mean] if row.over_tasks is None else [row.mean, row.over_tasks]


def _where(findings: Findings, row: Comparison) -> str:
    targets = findings.answering.plan.targets
    reached = [target for target, saving in zip(targets, row.savings, strict=True) if saving is not None]
    return f"at {target_range(reached)} sparsity"


def _amount(of: Interval) -> str:
    """ "1.3 [0.7, 1.8]", of a gain or of a loss."""
    ends = sorted((of.low, of.high) if of.value >= 0 else (-of.low, -of.high))
    value, low, high = (points(number).removeprefix("+") for number in (abs(of.value), *ends))
    return f"{value} [{low}, {high}]"


def _profiles(plan: Plan, findings: Findings, decision: Decision | None) -> Card:
    question = "Do profiles of groups beat the pooled profile at the same compute?"
    row = findings.deciding_gain
    if row is None or decision is None:
        text = "No routed method was compared with the pooled method of its configuration; only that can answer this."
        return Card("RQ2", question, "open", "Not asked", sentences=(text if findings.test.points else NO_ACCURACY,))
    over = f"; over tasks {points_interval(row.over_tasks)}" if row.over_tasks else ""
    first = (
        f"{display_name(plan, row.method)} minus {display_name(plan, row.reference)} at matched compute, mean "
        f"{_where(findings, row)}, {findings.answering.samples:,} samples{over}."
    )
    controls = [gain for gain in findings.answering.gains if gain.method.is_control and gain.reference == row.reference]
    corrected = f"Corrected for all comparisons with `{row.reference.name}` (Holm): {p_equals(row.p_corrected)}."
    folded = [corrected, *_refits(findings.answering, row), *_resolution(row)]
    return Card(
        "RQ2", question, decision.tone, decision.words, points_interval(row.mean), "points of accuracy",
        (first, *_beside(controls, decision)), tuple(folded),
    )  # fmt: skip


def _beside(controls: Sequence[Comparison], decision: Decision) -> list[str]:
    """What random groups gain; where none were run, a gain may be that of any groups."""
    if controls:
        gains = listed([points_interval(gain.mean) for gain in controls])
        return [f"Random groups of the same sizes gain {gains} over the same pooled profile."]
    return ["Random groups were not run: any groups might gain as much."] if decision.tone == "yes" else []


def _refits(accuracies: Accuracies, row: Comparison) -> list[str]:
    """The gain in units of the standard deviation between fits of random groups."""
    scale = accuracies.refit_variance.get(row.method)
    if scale is None or scale.deviation is None or scale.times is None:
        return ["Refit variance is not known: intervals resample samples and tasks, not fits."]
    verdict = "is" if scale.is_beyond(accuracies.plan.confidence) else "is not"
    return [
        f"{len(scale.draws)} fits of random groups differ by a standard deviation of {100 * scale.deviation:.2f} "
        f"points; the gain is {scale.times:.1f} times that and {verdict} beyond what one more fit of them would gain."
    ]


def _resolution(row: Comparison) -> list[str]:
    """The minimum detectable difference, rounded up: half of the paired interval at the coarsest target."""
    halves = [(gap.high - gap.low) / 2 for gap in row.at_targets if gap is not None]
    if not halves:
        return []
    return [f"A difference of {-(-round(1000 * max(halves), 6) // 1) / 10:.1f} points is resolved at every target."]


def _clusters(plan: Plan, findings: Findings) -> Card:
    question = "Do inputs cluster by activation pattern, and what do the clusters follow?"
    rows = findings.agreements
    allowed = candidates({row.label.name: row.label for row in rows})
    ranked = [row for row in rows if row.label.name in allowed]
    if not ranked:
        text = "No groups were learned, or the samples have no labels to compare them with."
        return Card("RQ1", question, "open", "Not asked", sentences=(text,))
    leader, *others = ranked
    stability, nmi = findings.quality.get("stability"), leader.agreement.nmi
    groups = f"{findings.quality.get('groups')} groups"
    if stability is None:
        answer, tone, reproducible = "Stability unknown", "open", f"{groups}, of which too few to test in halves"
    elif stability < STABLE:
        answer, tone, reproducible = (
            "Not reproducible",
            "no",
            f"{groups} differ between halves (ARI {number(stability)})",
        )
    else:
        if leader.p_corrected >= plan.alpha or nmi.value < PARTLY:
            answer, tone = "Not by any label", "no"
        elif nmi.value < MOSTLY:
            answer, tone = f"In part: by {leader.label.title}", "open"
        else:
            answer, tone = f"Yes: by {leader.label.title}", "yes"
        reproducible = f"{groups}, reproducible between halves of the data (ARI {number(stability)})"
    chance = f"; random groups reach {number(leader.chance.nmi.value)}" if leader.chance else ""
    sentences = [f"{reproducible}{chance}."]
    if others:
        shown = [f"{row.label.title} {number(row.agreement.nmi.value)}" for row in others[:2]]
        sentences.append(f"Next by NMI: {listed(shown)}.")
    unit = f"NMI with {leader.label.title}"
    return Card(
        "RQ1", question, tone, answer, number_interval(nmi), unit, tuple(sentences), tuple(_length(findings, leader))
    )


def _length(findings: Findings, leader: LabelAgreement) -> list[str]:
    """The agreement with the leading label after prompt length is regressed out of the signatures."""
    variant = without_length(findings.variants)
    if variant is None:
        return []
    row = variant.row(leader.label.name)
    return [
        f"With log prompt length regressed out, NMI with {leader.label.title} is {number_interval(row.agreement.nmi)} "
        f"(paired change [{number(row.change.low)}, {number(row.change.high)}])."
    ]


def _routing(plan: Plan, findings: Findings, decision: Decision | None) -> Card:
    question = "Can a new prompt be routed cheaply, and what does a mistake cost?"
    row = findings.deciding_gain
    router = next((entry for entry in findings.routers if row and entry.router == row.method.groups), None)
    if row is None or router is None:
        benefit = [entry for entry in findings.benefit_routers if row and entry.router == row.method.groups]
        text = "A benefit router chooses by predicted benefit; see its table." if benefit else "No router was fitted."
        return Card("RQ3", question, "open", "Not asked", sentences=(text,))
    regret = next(entry for entry in findings.answering.regrets if entry.method == row.method)
    first = (
        f"It costs {100 * router.fraction:.2g}% of the dense FLOPs; always naming the largest group would be right "
        f"for {percent(router.largest)}."
    )
    matters = decision is not None and decision.tone == "yes"
    second = _regret(regret, findings.answering.samples)
    second += "." if matters else "; that says little while groups are not shown to gain (RQ2)."
    answer, tone = ("Yes", "yes") if matters and regret.most < NEGLIGIBLE else ("Not well enough", "no")
    if not matters:
        answer, tone = ("Easily, but little depends on it", "open") if router.accuracy.low > router.largest else (
            "No better than guessing", "no")  # fmt: skip
    folded = _unseen(router.new_task, router.new_template)
    return Card("RQ3", question, tone, answer, percent_interval(router.accuracy), "of prompts to the right group",
                (first, second), folded)  # fmt: skip


def _regret(row: RegretRow, samples: int) -> str:
    """What mistakes cost, without a stop."""
    if row.elsewhere == 0:
        return f"All {samples:,} prompts that answer RQ2 went to their group, so mistakes cost nothing"
    if row.mean is None:
        return f"Its mistakes cost at most {percent(row.elsewhere)} of the answers, as many as it sent elsewhere"
    return f"Its mistakes cost {points_interval(row.mean)} points against known groups"


def _unseen(task: Interval | None, template: Interval | None) -> tuple[str, ...]:
    shown = [f"{kind} {percent_interval(value)}" for kind, value in (("task", task), ("template", template)) if value]
    return (f"Fitted without the prompt's {listed(shown)}.",) if shown else ()


def _tradeoff(plan: Plan, findings: Findings) -> Card:
    question = "What does it save, and at what loss of accuracy?"
    answering = findings.answering
    deployable = [row for row in answering.points if row.method.is_pooled or row.method.is_routed]
    if not deployable:
        return Card("RQ4", question, "open", "Not asked", sentences=(NO_ACCURACY,))
    answer, tone, timed, folded = latency_answer(plan, findings)
    safe = safest(findings)
    point = safe or max(deployable, key=lambda point: point.accuracy.value)
    loss = points_interval(point.loss).removeprefix("+")
    which = "Fewest FLOPs that are" if safe else "Nothing is"
    sentence = (
        f"{which} shown to lose under {100 * RELEVANT:g} points{'' if safe else '; nearest'}: "
        f"{display_name(plan, point.method)} at {target_name(point.target)} sparsity, {loss} points lost."
    )
    return Card(
        "RQ4", question, tone, answer, percent(point.compute, 0), "of the dense FLOPs", (sentence, timed), folded
    )
