"""The answers to the four research questions, by rules that were fixed before the numbers were known.

A verdict is a tag ("No gain shown"), a tone for its colour and sign, and sentences with every number's interval. The
page prints the rules (`pipeline/report/text/rules.py`). No method or label is named here: the same code must be able to
say the opposite.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report.analysis.accuracy import Point
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.labels import candidates
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RegretRow, RouterRow
from pipeline.report.text.benefit_routers import benefit_router_sentences
from pipeline.report.text.groups import STABLE, group_sentences, strength
from pipeline.report.text.latency import latency_answer
from pipeline.report.text.profiles import (
    beats_controls,
    gains_on,
    profile_grounds,
    profile_sentences,
    refit_variance_on,
)
from pipeline.report.text.refit_variance import qualifier
from pipeline.report.text.rules import NEGLIGIBLE, TOLERANCE
from pipeline.report.text.wording import percent, percent_interval, points_interval, target_name

NO_ACCURACY = "No test sample can be right or wrong: text has only a perplexity, which is shown below."


@dataclass(frozen=True)
class Verdict:
    """The answer to one research question: in a few words (`tag`), in sentences, and its grounds, which the page folds.
    `key` is RQ1 to RQ4, `tone` is `yes`, `no`, `mixed` or `open`.
    """

    key: str
    question: str
    tag: str
    tone: str
    sentences: tuple[str, ...]
    grounds: tuple[str, ...] = ()


def verdicts(plan: Plan, findings: Findings) -> list[Verdict]:
    """RQ1 to RQ4, from the test split."""
    return [_clusters(plan, findings), _profiles(plan, findings), _routing(plan, findings), _tradeoff(findings)]


def _clusters(plan: Plan, findings: Findings) -> Verdict:
    question = "Do inputs cluster by activation pattern, and what do the clusters follow?"
    rows = findings.test.agreements
    allowed = candidates({row.label.name: row.label for row in rows})
    ranked = [row for row in rows if row.label.name in allowed]
    if not ranked:
        text = "No groups were learned, or the samples have no labels to compare them with."
        return Verdict("RQ1", question, "Not asked", "open", (text,))
    leader, stability = ranked[0], findings.quality.get("stability")
    is_stable = stability is not None and stability >= STABLE
    followed = strength(leader, plan.alpha)
    tag = {"mostly": "Yes: by", "partly": "In part: by"}.get(followed, "")
    tag = f"{tag} {leader.label.title}" if tag else "Not by any label"
    if not is_stable:
        tag = "Groups not reproducible" if stability is not None else "Stability unknown"
    tone = {"mostly": "yes", "partly": "mixed"}.get(followed, "no") if is_stable else "mixed"
    return Verdict("RQ1", question, tag, tone, group_sentences(plan, findings, ranked))


def _profiles(plan: Plan, findings: Findings) -> Verdict:
    question = "Do cluster-specific profiles beat the pooled profile at the same realised compute?"
    if not findings.test.points:
        return Verdict("RQ2", question, "Not asked", "open", (NO_ACCURACY,))
    configuration = findings.test.deciding
    if configuration is None:
        text = "No routed method was compared with the pooled method of its configuration; only that can answer this."
        return Verdict("RQ2", question, "Not asked", "open", (text,))
    gains = gains_on(findings, configuration)
    routed = [row for row in gains if row.method.is_routed]
    better = [row for row in routed if row.is_better(plan.alpha)]
    worse = [row for row in routed if row.is_worse(plan.alpha)]
    if better and not any(beats_controls(plan, findings, row.method) for row in better):
        has_control = any(row.method.is_control for row in gains)
        tag = "A gain, but random groups are not beaten" if has_control else "A gain, but no random control was run"
        tone = "mixed"
    elif better and worse:
        tag, tone = "Depends on the router", "mixed"
    elif better and len(better) < len(routed):
        tag, tone = "With one router, not the other" if len(routed) == 2 else "With some routers", "mixed"
    elif better:
        doubt = qualifier(plan, refit_variance_on(findings, configuration))
        tag, tone = (f"Yes, {doubt}", "mixed") if doubt else ("Yes", "yes")
    else:
        tag, tone = "No: worse" if worse and len(worse) == len(routed) else "No gain shown", "no"
    sentences = profile_sentences(plan, findings, configuration, has_gain=bool(better))
    return Verdict("RQ2", question, tag, tone, sentences, profile_grounds(plan, findings, configuration))


def _routing(plan: Plan, findings: Findings) -> Verdict:
    question = "How can a new input be routed cheaply, and what does a routing mistake cost?"
    if not findings.test.points:
        return Verdict("RQ3", question, "Not asked", "open", (NO_ACCURACY,))
    regrets, of_benefit_routers = _deciding_regrets(findings), benefit_router_sentences(findings)
    if not regrets:
        text = "No routed method has a counterpart with oracle groups among the methods, so its regret is not known."
        return Verdict("RQ3", question, "Not asked", "open", (text, *of_benefit_routers))
    good = [row for row in regrets if row.mean.high < NEGLIGIBLE]
    cheapest = min(good, key=lambda row: row.fraction if row.fraction is not None else 1.0) if good else None
    oracles = {row.oracle.name for row in regrets}
    groups_matter = any(row.is_better(plan.alpha) for row in findings.test.gains if row.method.name in oracles)
    tag, tone = (f"Yes: {cheapest.method.groups}", "yes") if cheapest else ("No router is good enough", "mixed")
    if not groups_matter:
        tag, tone = "Little to lose by misrouting", "mixed"
    oracle, routers = regrets[0].oracle, {row.router: row for row in findings.test.routers}
    sentences: list[str] = []
    if any(row.oracle != oracle for row in findings.test.regrets):
        sentences.append(f"Regret refers to the profile set of `{oracle.name}`, on which RQ2 is decided.")
    sentences += [_router_sentence(routers[row.method.groups], row) for row in regrets]
    sentences.append(
        "Oracle groups beat the pooled profile here, so regret measures a real loss."
        if groups_matter
        else "Oracle groups are not shown to beat the pooled profile here, so a low regret says little."
    )
    return Verdict("RQ3", question, tag, tone, (*sentences, *of_benefit_routers))


def _router_sentence(router: RouterRow, regret: RegretRow) -> str:
    cost = ""
    if regret.fraction is not None:
        cost = f" at {percent(regret.fraction, 3 if regret.fraction < 0.001 else 2)} of the dense FLOPs"
    return (
        f"`{router.router}` chooses the right group for {percent_interval(router.accuracy)} of the test prompts{cost} "
        f"(always choosing the largest group: {percent(router.largest)}); regret {points_interval(regret.mean)} points."
    )


def _deciding_regrets(findings: Findings) -> list[RegretRow]:
    """The regrets of routers on the configuration that decides RQ2, or all of them if it has none."""
    routers = {row.router for row in findings.test.routers}
    rows = [row for row in findings.test.regrets if row.method.groups in routers]
    deciding = findings.test.deciding
    return [row for row in rows if deciding and row.method in deciding.methods] or rows


def _tradeoff(findings: Findings) -> Verdict:
    question = "What is the latency / accuracy trade-off?"
    if not findings.test.points:
        return Verdict("RQ4", question, "Not asked", "open", (NO_ACCURACY,))
    deployable = [row for row in findings.test.points if row.method.is_pooled or row.method.is_routed]
    safe = [point for point in deployable if point.loss.high < TOLERANCE]
    bound = f"shown to lose under {100 * TOLERANCE:g} points of test accuracy"
    sentences = [f"No operating point is {bound}."]
    if safe:
        cheapest = min(safe, key=lambda point: point.compute)
        sentences = [f"Fewest FLOPs of the points {bound}: {_operating(cheapest)}."]
    sparsest = max(deployable, key=lambda point: (point.target, point.accuracy.value), default=None)
    if sparsest is not None:
        sentences.append(f"Most accurate at the sparsest target: {_operating(sparsest)}.")
    tag, tone, of_timings = latency_answer(findings)
    return Verdict("RQ4", question, tag, tone, (*of_timings, *sentences))


def _operating(point: Point) -> str:
    loss = points_interval(point.loss).removeprefix("+")
    return (
        f"`{point.method.name}` at target {target_name(point.target)}, with {percent(point.compute, 0)} of the dense "
        f"FLOPs and an accuracy loss of {loss} points"
    )
