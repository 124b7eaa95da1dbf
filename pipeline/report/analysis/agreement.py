"""RQ1 in numbers: how far the learned groups and each label say the same.

Next to NMI, ARI and purity stand four things a doubtful reader asks for: a permutation p-value, corrected for the
number of labels; the same numbers for size-matched random groups (what chance gives with these class counts); the share
of the group's identity that the label determines, `I(C;L) / H(C)` (NMI cannot reach 1 when a label has more values than
there are groups; this can); and the NMI within prompts of similar length (length can pass for structure). All are
computed on one split; groups of test samples come from rules fitted on train samples. Other clusterings are held
against the labels in `pipeline/report/analysis/variants.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.report.analysis.evidence import Evidence, groups_of, split_samples
from pipeline.report.analysis.labels import Label, labels
from pipeline.report.analysis.plan import ACTIVATION, RANDOM, Plan
from pipeline.statistics.agreement import Agreement, agreement, contingency, normalized_mutual_information
from pipeline.statistics.significance import holm, permutation_p


@dataclass(frozen=True)
class LabelAgreement:
    """Groups against one label. `p` is the permutation p-value of their agreement, `p_corrected` that after Holm's
    correction over all labels of the split. `chance` is the agreement of random groups; `within_length` the NMI among
    prompts of similar length.
    """

    label: Label
    found: Agreement
    p: float
    p_corrected: float
    chance: Agreement | None
    determined: float
    within_length: float | None


@dataclass(frozen=True)
class Composition:
    """Who is in each group: `counts[g, v]` samples of group g have value v of the label."""

    label: Label
    counts: Int[np.ndarray, "groups values"]


def agreements(plan: Plan, evidence: Evidence, split: str) -> list[LabelAgreement]:
    """One row per label, strongest NMI first; empty when no groups were learned."""
    if ACTIVATION not in plan.schemes:
        return []
    rows = split_samples(evidence, split)
    known = labels(rows)
    groups = groups_of(evidence, ACTIVATION, rows.index)
    control = groups_of(evidence, RANDOM, rows.index) if RANDOM in plan.schemes else None
    p_values, corrected = label_p_values(plan, groups, list(known.values()))
    found = [
        _against(plan, label, groups, control, known.get("length"), p, p_corrected)
        for label, p, p_corrected in zip(known.values(), p_values, corrected, strict=True)
    ]
    return sorted(found, key=lambda row: -row.found.nmi.value)


def label_p_values(plan: Plan, groups: np.ndarray, known: Sequence[Label]) -> tuple[list[float], list[float]]:
    """The permutation p-value of the groups with every label, and those values corrected for their number."""
    found = [permutation_p(groups, one.codes, permutations=plan.bootstrap, seed=plan.seed) for one in known]
    return found, holm(found)


def agreement_with(plan: Plan, groups: np.ndarray, label: Label) -> Agreement:
    """NMI, ARI and purity with the plan's intervals."""
    return agreement(groups, label.codes, replicates=plan.bootstrap, confidence=plan.confidence, seed=plan.seed)


def compositions(plan: Plan, evidence: Evidence, split: str, scheme: str = ACTIVATION) -> list[Composition]:
    """The make-up of every group of a learned scheme by every label."""
    if scheme not in plan.schemes:
        return []
    rows = split_samples(evidence, split)
    groups = groups_of(evidence, scheme, rows.index)
    return [Composition(label, _cross(groups, label)) for label in labels(rows).values()]


def entanglement(evidence: Evidence, split: str) -> tuple[list[Label], Float[np.ndarray, "labels labels"]]:
    """NMI of every pair of labels: where two labels are not independent, clusters that follow one follow the other."""
    known = list(labels(split_samples(evidence, split)).values())
    pairs = [[normalized_mutual_information(a.codes, b.codes) for b in known] for a in known]
    return known, np.asarray(pairs)


def _against(
    plan: Plan,
    label: Label,
    groups: np.ndarray,
    control: np.ndarray | None,
    length: Label | None,
    p: float,
    p_corrected: float,
) -> LabelAgreement:
    found = agreement_with(plan, groups, label)
    is_length = label.name in ("length", "shots")
    return LabelAgreement(
        label=label,
        found=found,
        p=p,
        p_corrected=p_corrected,
        chance=agreement_with(plan, control, label) if control is not None else None,
        determined=_determined(found.nmi.value, groups, label.codes),
        within_length=_within(groups, label.codes, length.codes) if length and not is_length else None,
    )


def _determined(nmi: float, groups: np.ndarray, codes: np.ndarray) -> float:
    own, other = _entropy(groups), _entropy(codes)
    return nmi * (own + other) / (2 * own) if own > 0 else 0.0


def _within(groups: np.ndarray, codes: np.ndarray, strata: np.ndarray) -> float:
    parts = [(strata == stratum) for stratum in np.unique(strata)]
    values = [normalized_mutual_information(groups[part], codes[part]) * part.mean() for part in parts]
    return float(np.sum(values))


def _entropy(codes: np.ndarray) -> float:
    fraction = np.bincount(codes) / len(codes)
    fraction = fraction[fraction > 0]
    return float(-(fraction * np.log(fraction)).sum())


def _cross(groups: np.ndarray, label: Label) -> np.ndarray:
    return contingency(groups, label.codes)
