"""Sentences about RQ1: whether the groups are reproducible, the labels that they follow, and the influence of length.

The thresholds by which a number becomes a word are the constants below; the page prints them
(`pipeline/report/text/rules.py`). No label is named here: the same code must be able to say the opposite.
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
        *_without_length(findings, ranked[0]),
    )


def strength(row: LabelAgreement | VariantLabel, alpha: float) -> str:
    """`mostly`, `partly` or `hardly`: how far groups follow a label; `hardly` if chance explains it."""
    if row.p_corrected >= alpha:
        return "hardly"
    nmi = row.agreement.nmi.value
    return "mostly" if nmi >= MOSTLY else "partly" if nmi >= PARTLY else "hardly"


def _reproducible(findings: Findings) -> str:
    quality = findings.quality
    stability, silhouette = quality.get("stability"), quality.get("silhouette")
    groups = f"The {quality.get('groups')} groups from {quality.get('algorithm', 'clustering')}"
    if stability is None:
        return f"{groups} could not be tested for reproducibility (too few samples in a half)."
    verb = "are reproducible" if stability >= STABLE else "are not reproducible"
    tail = "" if silhouette is None else f"; silhouette {number(silhouette)}"
    return f"{groups} {verb}: clusterings of two halves of the training samples have ARI {number(stability)}{tail}."


def _followed(ranked: Sequence[LabelAgreement], alpha: float) -> list[str]:
    leader, *others = ranked
    follow, measured = strength(leader, alpha), leader.agreement
    chance = leader.chance and f"; random groups of the same sizes reach NMI {number(leader.chance.nmi.value)}"
    verb = "They hardly follow any label; the nearest is" if follow == "hardly" else f"They {follow} follow"
    sentences = [
        f"{verb} {leader.label.title} (NMI {number_interval(measured.nmi)}, ARI {number_interval(measured.ari)}, "
        f"purity {number_interval(measured.purity)}, {p_equals(leader.p_corrected)}{chance or ''})."
    ]
    if others:
        apart = "clearly behind" if others[0].agreement.nmi.high < measured.nmi.low else "not clearly behind"
        shown = [
            f"{row.label.title} ({number_interval(row.agreement.nmi)}, {p_equals(row.p_corrected)})" for row in others
        ]
        sentences.append(f"The next labels, {apart}, by NMI: {listed(shown[:3])}.")
    return sentences


def _over_depth(findings: Findings, ranked: Sequence[LabelAgreement], alpha: float) -> list[str]:
    """The label that the groups of most blocks follow, and labels that the groups of only some blocks follow."""
    blocks = by_block(findings.variants)
    if len(blocks) < 2:
        return []
    leader, titles = ranked[0].label, {row.label.name: row.label.title for row in ranked}
    leading = [max(titles, key=lambda name, block=block: _nmi(block, name)) for block in blocks]
    first, last = (number_interval(block.row(leader.name).agreement.nmi) for block in (blocks[0], blocks[-1]))
    elsewhere = [block for block, name in zip(blocks, leading, strict=True) if name != leader.name]
    others = listed(list(dict.fromkeys(titles[name] for name in leading if name != leader.name))) if elsewhere else ""
    tail = f"in {_numbered(elsewhere)}, {others} leads" if elsewhere else "no other label leads in any block"
    sentences = [f"Block by block, NMI with {leader.title} is {first} in the first and {last} in the last; {tail}."]
    for row in ranked:
        name = row.label.name
        following = [block for block in blocks if strength(block.row(name), alpha) != "hardly"]
        if following and strength(row, alpha) == "hardly":
            strongest = max(following, key=lambda block, name=name: _nmi(block, name)).row(name).agreement.nmi
            verb, most = ("follow", "up to ") if len(following) > 1 else ("follows", "")
            sentences.append(
                f"{_numbered(following).capitalize()} alone {verb} {row.label.title}, too (NMI {most}"
                f"{number_interval(strongest)})."
            )
    return sentences


def _nmi(variant: Variant, label: str) -> float:
    return variant.row(label).agreement.nmi.value


def _numbered(blocks: Sequence[Variant]) -> str:
    return f"block{'s' if len(blocks) > 1 else ''} {listed([str(variant.block) for variant in blocks])}"


def _without_length(findings: Findings, leader: LabelAgreement) -> list[str]:
    """The agreement with the leading label and with length, after length is regressed out of the signatures."""
    variant = without_length(findings.variants)
    if variant is None:
        return []
    row = variant.row(leader.label.name)
    low, high = row.change.low, row.change.high
    changed = "higher than" if low > 0 else "lower than" if high < 0 else "not shown to differ from"
    length = next((other for other in variant.rows if other.label.name == "length"), None)
    tail = f", and with {length.label.title} NMI {number_interval(length.agreement.nmi)}" if length else ""
    return [
        f"With log prompt length regressed out, NMI with {leader.label.title} is {number_interval(row.agreement.nmi)}, "
        f"{changed} before (paired change [{number(low)}, {number(high)}]); these groups have ARI "
        f"{number(variant.same)} with the original ones{tail}."
    ]
