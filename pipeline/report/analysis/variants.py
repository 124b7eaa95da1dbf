"""Other clusterings of the same samples, compared with the labels and with the learned groups (RQ1).

The stage `cluster` also clusters the signatures of every block alone, and those of all blocks with log prompt length
regressed out (`pipeline/grouping/cluster_variants.py`). The change of an NMI from the learned groups is a paired
difference: both clusterings are resampled together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.report.analysis.agreement import agreement_with, label_p_values
from pipeline.report.analysis.evidence import Evidence, groups_of, split_samples, variants_of
from pipeline.report.analysis.labels import Label, labels
from pipeline.report.analysis.plan import Plan
from pipeline.statistics.agreement import Agreement, nmi_difference
from pipeline.statistics.bootstrap import Interval
from wina_amp.names import ACTIVATION

BLOCK, LENGTH_REMOVED = "block", "length_removed"


@dataclass(frozen=True)
class VariantLabel:
    """A variant's groups against one label. `change` is their NMI less that of the learned groups; `p_corrected` is
    the permutation p-value, corrected over the labels of this variant.
    """

    label: Label
    agreement: Agreement
    change: Interval
    p_corrected: float


@dataclass(frozen=True)
class Variant:
    """One other clustering. `stability` is its ARI between halves (None where unknown), `rows` one entry a label, in
    the order of `labels`."""

    kind: str
    block: int
    stability: float | None
    rows: tuple[VariantLabel, ...]

    def row(self, label: str) -> VariantLabel:
        return next(row for row in self.rows if row.label.name == label)


def variants(plan: Plan, evidence: Evidence) -> list[Variant]:
    """Every clustering of a block, by block, then the one without length; empty when no groups were learned."""
    if ACTIVATION not in plan.schemes:
        return []
    samples = split_samples(evidence, "test")
    learned, split_labels = groups_of(evidence, ACTIVATION, samples.index), list(labels(samples).values())
    quality = evidence.quality.get("variants", {})
    clusterings: list[Variant] = []
    for (kind, block), groups in variants_of(evidence, samples.index).items():
        rows = [
            VariantLabel(label, agreement_with(plan, groups, label), _change(plan, learned, groups, label), p)
            for label, p in zip(split_labels, label_p_values(plan, groups, split_labels), strict=True)
        ]
        stability = quality.get(f"{kind} {block}" if kind == BLOCK else kind, {}).get("stability")
        clusterings.append(Variant(kind, int(block), stability, tuple(rows)))
    return clusterings


def without_length(clusterings: Sequence[Variant]) -> Variant | None:
    """The variant with length regressed out, if it was clustered."""
    return next((variant for variant in clusterings if variant.kind == LENGTH_REMOVED), None)


def by_block(clusterings: Sequence[Variant]) -> list[Variant]:
    """The variants of single blocks, first block first."""
    return [variant for variant in clusterings if variant.kind == BLOCK]


def _change(plan: Plan, learned: np.ndarray, groups: np.ndarray, label: Label) -> Interval:
    return nmi_difference(
        learned, groups, label.codes, replicates=plan.bootstrap, confidence=plan.confidence, seed=plan.seed
    )
