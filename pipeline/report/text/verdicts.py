"""The four answers, as sentences made from the numbers by rules that were fixed before the numbers were known.

A verdict is a tag ("No gain shown"), a tone for its colour and sign, and sentences with every number's interval. The
rules are in `pipeline/report/text/rules.py`; the page prints them under "How verdicts are decided".
Nothing here may name a method or a label: the same code must be able to say the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.report.analysis.accuracy import Point
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.labels import candidates
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RegretRow
from pipeline.report.text.benefit_routers import benefit_router_sentences
from pipeline.report.text.groups import STABLE, group_sentences, strength
from pipeline.report.text.latency import latency_answer
from pipeline.report.text.profiles import beats_controls, gains_on, noise_on, profile_grounds, profile_sentences
from pipeline.report.text.refit_variance import qualifier
from pipeline.report.text.rules import NEGLIGIBLE, TOLERANCE
from pipeline.report.text.wording import (
    percent,
    percent_interval,
    points_interval,
    target_name,
)

NO_ACCURACY = "No test sample can be right or wrong: text has a perplexity only, which stands below."


@dataclass(frozen=True)
class Verdict:
    """One research question's answer.

    Attributes:
        key: RQ1 to RQ4.
        question: in words.
        tag: the answer in a few words.
        tone: `yes`, `no`, `mixed` or `open`.
        sentences: the answer.
        grounds: what stands behind it; the page folds these sentences.
    """

    key: str
    question: str
    tag: str
    tone: str
    sentences: tuple[str, ...]
    grounds: tuple[str, ...] = ()


def verdicts(plan: Plan, findings: Findings) -> list[Verdict]:
    """RQ1 to RQ4, from the test split."""
    return [_clusters(plan, findings), _profiles(plan, findings), _routing(plan, findings), _tradeoff(plan, findings)]


def _clusters(plan: Plan, findings: Findings) -> Verdict:
    question = "Do inputs cluster by activation pattern, and what do the clusters follow?"
    rows = findings.test.agreements
    allowed = candidates({row.label.name: row.label for row in rows})
    ranked = [row for row in rows if row.label.name in allowed]
    if not ranked:
        text = "No groups were learned, or the samples carry no labels to compare them with."
        return Verdict("RQ1", question, "Not asked", "open", (text,))
    leader, stability = ranked[0], findings.quality.get("stability")
    is_stable = stability is not None and stability >= STABLE
    followed = strength(leader, plan.alpha)
    tag = {"mostly": "Yes: by", "partly": "In part: by"}.get(followed, "")
    tag = f"{tag} {leader.label.title}" if tag else "Not by any label"
    if not is_stable:
        tag = "Groups not reproducible" if stability is not None else "Stability unknown"
    tone = {"mostly": "yes", "partly": "mixed"}.get(followed, "no") if is_stable else "mixed"
    sentences = group_sentences(plan, findings, ranked)
    return Verdict("RQ1", question, tag, tone, sentences)


def _profiles(plan: Plan, findings: Findings) -> Verdict:
    question = "Do cluster-specific profiles beat the pooled profile at the same realised compute?"
    if not findings.test.points:
        return Verdict("RQ2", question, "Not asked", "open", (NO_ACCURACY,))
    configuration = findings.test.deciding
    if configuration is None:
        text = "No routed method was compared with the pooled method of its configuration; only that can answer this."
        return Verdict("RQ2", question, "Not asked", "open", (text,))
    rows = gains_on(findings, configuration)
    routed = [row for row in rows if row.method.is_routed]
    better = [row for row in routed if row.is_claimed(plan.alpha) and row.mean.value > 0]
    worse = [row for row in routed if row.is_claimed(plan.alpha) and row.mean.value < 0]
    if better and not any(beats_controls(plan, findings, row.method) for row in better):
        has_control = any(row.method.is_control for row in rows)
        tag = "A gain, but random groups are not beaten" if has_control else "A gain, but no random control was run"
        tone = "mixed"
    elif better and not worse and len(better) < len(routed):
        tag, tone = "With one router, not the other" if len(routed) == 2 else "With some routers", "mixed"
    elif better and not worse:
        doubt = qualifier(plan, [row for row in noise_on(findings, configuration) if row.method.is_routed])
        tag, tone = (f"Yes, {doubt}", "mixed") if doubt else ("Yes", "yes")
    elif worse and not better:
        tag, tone = ("No: worse", "no") if len(worse) == len(routed) else ("No gain shown", "no")
    else:
        tag, tone = ("No gain shown", "no") if not better else ("Depends on the router", "mixed")
    sentences = profile_sentences(plan, findings, configuration, has_gain=bool(better))
    return Verdict("RQ2", question, tag, tone, sentences, profile_grounds(plan, findings, configuration))


def _routing(plan: Plan, findings: Findings) -> Verdict:
    question = "How can a new input be routed cheaply, and what does a routing mistake cost?"
    routers = {row.router: row for row in findings.test.routers}
    regrets = _deciding_regrets(plan, findings)
    if not findings.test.points:
        return Verdict("RQ3", question, "Not asked", "open", (NO_ACCURACY,))
    if not regrets:
        text = (
            "No routed method has a counterpart with true groups among the methods, so its regret cannot be computed."
        )
        return Verdict("RQ3", question, "Not asked", "open", (text, *benefit_router_sentences(findings)))
    good = [row for row in regrets if row.mean.high < NEGLIGIBLE]
    chosen = min(good, key=lambda row: row.fraction if row.fraction is not None else 1.0) if good else None
    matters = _groups_matter(plan, findings, regrets)
    tag, tone = (f"Yes: {chosen.method.groups}", "yes") if chosen else ("No router is good enough", "mixed")
    if not matters:
        tag, tone = "Little to lose by misrouting", "mixed"
    sentences = []
    if any(row.oracle != regrets[0].oracle for row in findings.test.regrets):
        sentences.append(f"Regret is that of the profiles of `{regrets[0].oracle.name}`, on which RQ2 is decided.")
    for row in regrets:
        router = routers[row.method.groups]
        cost = f" for {_fraction(row.fraction)} of the dense FLOPs" if row.fraction is not None else ""
        sentences.append(
            f"`{router.router}` names the right group of {percent_interval(router.accuracy)} of the test prompts{cost} "
            f"(always naming the largest group: {percent(router.largest)}); regret {points_interval(row.mean)} points."
        )
    sentences.append(
        "True groups beat the pooled profile here, so regret measures a real loss."
        if matters
        else "True groups are not shown to beat the pooled profile here, so a low regret says little: there is not "
        "much to lose."
    )
    return Verdict("RQ3", question, tag, tone, (*sentences, *benefit_router_sentences(findings)))


def _groups_matter(plan: Plan, findings: Findings, regrets: Sequence[RegretRow]) -> bool:
    oracles = {row.oracle.name for row in regrets}
    known = (row for row in findings.test.gains if row.method.name in oracles)
    return any(row.is_claimed(plan.alpha) and row.mean.value > 0 for row in known)


def _deciding_regrets(plan: Plan, findings: Findings) -> list[RegretRow]:
    """The regrets on the configuration that decides RQ2, or all of them if it has none."""
    known = {row.router for row in findings.test.routers}
    rows = [row for row in findings.test.regrets if row.method.groups in known]
    configuration = findings.test.deciding
    return [row for row in rows if configuration and row.method in configuration.methods] or rows


def _fraction(fraction: float | None) -> str:
    if fraction is None:
        return "an unknown share"
    return percent(fraction, 3) if fraction < 0.001 else percent(fraction, 2)


def _tradeoff(plan: Plan, findings: Findings) -> Verdict:
    question = "What is the latency / accuracy trade-off?"
    if not findings.test.points:
        return Verdict("RQ4", question, "Not asked", "open", (NO_ACCURACY,))
    deployable = [
        point
        for point in findings.test.points
        if not point.method.is_dense and (point.method.is_pooled or point.method.is_routed)
    ]
    safe = [point for point in deployable if point.loss.high < TOLERANCE]
    sentences = []
    if safe:
        best = min(safe, key=lambda point: point.compute)
        sentences.append(
            f"Cheapest point shown to lose under {100 * TOLERANCE:g} points of test accuracy: {_operating(best)}."
        )
    else:
        sentences.append(f"No operating point is shown to lose under {100 * TOLERANCE:g} points of test accuracy.")
    steepest = max(deployable, key=lambda point: (point.target, point.accuracy.value), default=None)
    if steepest is not None:
        sentences.append(f"Most accurate at the sparsest target: {_operating(steepest)}.")
    tag, tone, told = latency_answer(findings)
    return Verdict("RQ4", question, tag, tone, (*told, *sentences))


def _operating(point: Point) -> str:
    loss = points_interval(point.loss).removeprefix("+")
    place = f"`{point.method.name}` at target {target_name(point.target)}"
    return f"{place} runs {percent(point.compute, 0)} of the dense FLOPs and loses {loss} points"
