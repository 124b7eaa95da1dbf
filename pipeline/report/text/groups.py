"""RQ1 in sentences made from the numbers: are the groups reproducible, what do they follow, where, and is it length?

The rules by which a number becomes a word are the constants below; the page prints them
(`pipeline/report/text/verdicts.py`). Nothing here may name a label: the same code must be able to say the opposite.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.variants import Variant, VariantLabel, by_block, without_length
from pipeline.report.text.wording import listed, number, number_interval, p_equals

STABLE = 0.6
"""Groups count as reproducible when two clusterings from disjoint halves of the training samples agree with at least
this ARI.
"""
MOSTLY, PARTLY = 0.5, 0.1
"""NMI from which groups follow a label mostly, or partly."""


def group_sentences(plan: Plan, findings: Findings, ranked: Sequence[LabelAgreement]) -> tuple[str, ...]:
    """The answer to RQ1; `ranked` are the labels that may explain groups, strongest first."""
    return (
        _reproducible(findings),
        *_followed(ranked, plan.alpha),
        *_over_depth(findings, ranked, plan.alpha),
        *_apart_from_length(findings, ranked[0]),
    )


def strength(row: LabelAgreement | VariantLabel, alpha: float) -> str:
    """How far groups follow a label: `mostly`, `partly` or `hardly`; `hardly` if chance explains it."""
    if row.p_corrected >= alpha:
        return "hardly"
    return "mostly" if row.found.nmi.value >= MOSTLY else "partly" if row.found.nmi.value >= PARTLY else "hardly"


def _reproducible(findings: Findings) -> str:
    quality = findings.quality
    stability, silhouette = quality.get("stability"), quality.get("silhouette")
    groups = quality.get("groups")
    text = f"The {groups} groups found by {quality.get('algorithm', 'clustering')}"
    if stability is None:
        return f"{text} could not be tested for reproducibility (too few samples in a half)."
    verb = "are reproducible" if stability >= STABLE else "are not reproducible"
    tail = f", silhouette {number(silhouette)}" if silhouette is not None else ""
    return (
        f"{text} {verb}: clusterings from two halves of the training samples agree with ARI {number(stability)}{tail}."
    )


def _followed(ranked: Sequence[LabelAgreement], alpha: float) -> list[str]:
    leader = ranked[0]
    follow = strength(leader, alpha)
    measured = (
        f"NMI {number_interval(leader.found.nmi)}, ARI {number_interval(leader.found.ari)}, purity "
        f"{number_interval(leader.found.purity)}, {p_equals(leader.p_corrected)}"
    )
    if leader.chance is not None:
        measured += f"; random groups of the same sizes reach NMI {number(leader.chance.nmi.value)}"
    verb = f"They {follow} follow" if follow != "hardly" else "They hardly follow any label; the nearest is"
    found = [f"{verb} {leader.label.title} ({measured})."]
    others = ranked[1:]
    if others:
        behind = others[0].found.nmi
        apart = "clearly behind" if behind.high < leader.found.nmi.low else "not clearly behind"
        named = [f"{row.label.title} ({number_interval(row.found.nmi)}, {p_equals(row.p_corrected)})" for row in others]
        found.append(f"Next, {apart}: {listed(named[:3])}.")
    return found


def _over_depth(findings: Findings, ranked: Sequence[LabelAgreement], alpha: float) -> list[str]:
    """What the signatures of single blocks follow: whether one label leads in all, and labels that only some follow."""
    blocks = by_block(findings.variants)
    if len(blocks) < 2:
        return []
    leader, titles = ranked[0].label, {row.label.name: row.label.title for row in ranked}
    leading = [max(titles, key=lambda name, one=one: one.row(name).found.nmi.value) for one in blocks]
    first, last = (number_interval(one.row(leader.name).found.nmi) for one in (blocks[0], blocks[-1]))
    text = f"Block by block, NMI with {leader.title} is {first} in the first and {last} in the last"
    elsewhere = [one for one, name in zip(blocks, leading, strict=True) if name != leader.name]
    if elsewhere:
        instead = listed(list(dict.fromkeys(titles[name] for name in leading if name != leader.name)))
        text += f"; in {_numbered(elsewhere)} {instead} leads"
    else:
        text += "; no other label leads in any block"
    return [f"{text}.", *_only_somewhere(blocks, ranked, alpha)]


def _only_somewhere(blocks: Sequence[Variant], ranked: Sequence[LabelAgreement], alpha: float) -> list[str]:
    """Labels that the groups of all blocks hardly follow, but those of some blocks do."""
    found: list[str] = []
    for row in ranked:
        name = row.label.name
        there = [one for one in blocks if strength(one.row(name), alpha) != "hardly"]
        if there and strength(row, alpha) == "hardly":
            most = max(there, key=lambda one, name=name: one.row(name).found.nmi.value)
            measured = number_interval(most.row(name).found.nmi)
            verb = "taken alone follow" if len(there) > 1 else "taken alone follows"
            at_most = "up to " if len(there) > 1 else ""
            place = _numbered(there).capitalize()
            found.append(f"{place} {verb} {row.label.title} as well (NMI {at_most}{measured}).")
    return found


def _numbered(blocks: Sequence[Variant]) -> str:
    plural = "blocks" if len(blocks) > 1 else "block"
    return f"{plural} {listed([str(one.block) for one in blocks])}"


def _apart_from_length(findings: Findings, leader: LabelAgreement) -> list[str]:
    """What happens to the leading label, and to length, when length is regressed out of the signatures."""
    apart = without_length(findings.variants)
    if apart is None:
        return []
    change = apart.row(leader.label.name).change
    text = (
        f"With log prompt length regressed out, NMI with {leader.label.title} is "
        f"{number_interval(apart.row(leader.label.name).found.nmi)}, {_changed(change.low, change.high)} "
        f"(paired change [{number(change.low)}, {number(change.high)}]); the groups agree with the original ones with "
        f"ARI {number(apart.same)}{_length_left(apart)}."
    )
    return [text]


def _changed(low: float, high: float) -> str:
    return "higher than before" if low > 0 else "lower than before" if high < 0 else "not shown to differ from before"


def _length_left(apart: Variant) -> str:
    known = [row for row in apart.rows if row.label.name == "length"]
    return f", and their NMI with {known[0].label.title} is {number_interval(known[0].found.nmi)}" if known else ""
