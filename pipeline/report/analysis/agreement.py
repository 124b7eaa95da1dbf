"""Agreement of the learned groups with every label of the samples (RQ1).

NMI, ARI and purity stand beside a permutation p-value (corrected for the number of labels), the same measures of
size-matched random groups, the fraction of a group's identity that the label determines, `I(C;L) / H(C)` (unlike NMI it
can reach 1 when a label has more values than there are groups), and the NMI within prompts of similar length. All are
of test samples, whose groups come from rules fitted on train samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from pipeline.report.analysis.evidence import Evidence, groups_of, split_samples
from pipeline.report.analysis.labels import Label, labels
from pipeline.report.analysis.plan import RANDOM, Plan
from pipeline.statistics.agreement import Agreement, agreement, contingency, normalized_mutual_information
from pipeline.statistics.significance import holm, permutation_p
from wina_amp.names import ACTIVATION


@dataclass(frozen=True)
class LabelAgreement:
    """Groups against one label. `p_corrected` is the permutation p-value of their agreement (`agreement`), after Holm's
    correction over all labels of the split. `chance` is the agreement of random groups, `determined` the
    fraction of group identity that the label determines, `within_length` the NMI among prompts of similar length.
    """

    label: Label
    agreement: Agreement
    p_corrected: float
    chance: Agreement | None
    determined: float
    within_length: float | None


@dataclass(frozen=True)
class Composition:
    """The samples of each group by one label: `counts[g, v]` samples of group g have value v of the label."""

    label: Label
    counts: Int[np.ndarray, "groups values"]


def agreements(plan: Plan, evidence: Evidence) -> list[LabelAgreement]:
    """One row per label, strongest NMI first; empty when no groups were learned."""
    if ACTIVATION not in plan.schemes:
        return []
    samples = split_samples(evidence, "test")
    split_labels = labels(samples)
    groups = groups_of(evidence, ACTIVATION, samples.index)
    control = groups_of(evidence, RANDOM, samples.index) if RANDOM in plan.schemes else None
    length = split_labels.get("length")
    rows: list[LabelAgreement] = []
    p_values = label_p_values(plan, groups, list(split_labels.values()))
    for label, p_corrected in zip(split_labels.values(), p_values, strict=True):
        measured = agreement_with(plan, groups, label)
        has_length = label.name in ("length", "shots")
        rows.append(
            LabelAgreement(
                label,
                measured,
                p_corrected,
                chance=None if control is None else agreement_with(plan, control, label),
                determined=_determined(measured.nmi.value, groups, label.codes),
                within_length=_within(groups, label.codes, length.codes) if length and not has_length else None,
            )
        )
    return sorted(rows, key=lambda row: -row.agreement.nmi.value)


def label_p_values(plan: Plan, groups: np.ndarray, among: Sequence[Label]) -> list[float]:
    """The permutation p-values of the groups with every label, corrected for their number."""
    return holm([permutation_p(groups, label.codes, permutations=plan.bootstrap, seed=plan.seed) for label in among])


def agreement_with(plan: Plan, groups: np.ndarray, label: Label) -> Agreement:
    """NMI, ARI and purity with the plan's intervals."""
    return agreement(groups, label.codes, replicates=plan.bootstrap, confidence=plan.confidence, seed=plan.seed)


def compositions(evidence: Evidence, scheme: str) -> list[Composition]:
    """The composition of the groups of a learned scheme by every label."""
    samples = split_samples(evidence, "test")
    groups = groups_of(evidence, scheme, samples.index)
    return [Composition(label, contingency(groups, label.codes)) for label in labels(samples).values()]


def entanglement(evidence: Evidence) -> tuple[list[Label], Float[np.ndarray, "labels labels"]]:
    """NMI of every pair of labels: clusters that follow one of two dependent labels follow the other, too."""
    split_labels = list(labels(split_samples(evidence, "test")).values())
    pairs = [[normalized_mutual_information(a.codes, b.codes) for b in split_labels] for a in split_labels]
    return split_labels, np.asarray(pairs)


def _determined(nmi: float, groups: np.ndarray, codes: np.ndarray) -> float:
    """`I(C;L) / H(C)` from `NMI = 2 I / (H(C) + H(L))`."""
    of_groups, of_label = _entropy(groups), _entropy(codes)
    return nmi * (of_groups + of_label) / (2 * of_groups) if of_groups > 0 else 0.0


def _within(groups: np.ndarray, codes: np.ndarray, strata: np.ndarray) -> float:
    parts = [(strata == stratum) for stratum in np.unique(strata)]
    values = [normalized_mutual_information(groups[part], codes[part]) * part.mean() for part in parts]
    return float(np.sum(values))


def _entropy(codes: np.ndarray) -> float:
    fraction = np.bincount(codes) / len(codes)
    fraction = fraction[fraction > 0]
    return float(-(fraction * np.log(fraction)).sum())
