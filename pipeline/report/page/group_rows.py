"""RQ1's tables: agreement of groups with labels, over the whole model and by block, and the composition of groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.agreement import Composition, LabelAgreement
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.labels import Label
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.variants import VariantLabel, by_block, without_length
from pipeline.report.page.rows import NONE, Row, heat_cell, heat_row, heat_table, interval_cell
from pipeline.report.text.wording import number, p_value, percent


def agreement_rows(plan: Plan, findings: Findings) -> list[Row]:
    """Agreement of the groups with every label. The last columns are the same NMI at like prompt length, of groups
    found without length, and on the training split.
    """
    train = {row.label.name: row.agreement.nmi.value for row in findings.train.agreements} if findings.train else {}
    variant = without_length(findings.variants)
    removed = {row.label.name: row.agreement.nmi.value for row in variant.rows} if variant else {}
    return [
        {
            "label": row.label.title,
            "classes": len(row.label.values),
            "nmi": interval_cell(row.agreement.nmi, number),
            "ari": interval_cell(row.agreement.ari, number),
            "purity": interval_cell(row.agreement.purity, number),
            "p": {"text": p_value(row.p_corrected), "bold": row.p_corrected < plan.alpha},
            "chance": _number_or_dash(row.chance and row.chance.nmi.value),
            "determined": percent(row.determined, 0),
            "within": _number_or_dash(row.within_length),
            "removed": _number_or_dash(removed.get(row.label.name)),
            "train": _number_or_dash(train.get(row.label.name)),
        }
        for row in findings.test.agreements
    ]


def variant_table(plan: Plan, findings: Findings) -> Row:
    """NMI of every label (rows) with the groups of every clustering (columns): of all blocks, of all blocks without
    length, and of each block; then how reproducible each clustering is, and its agreement with the learned groups.
    """
    blocks, apart = by_block(findings.variants), without_length(findings.variants)
    variants = [*([apart] if apart else []), *blocks]
    names = (["length removed"] if apart else []) + [f"block {variant.block}" for variant in blocks]
    rows = [
        {
            "label": row.label.title,
            "whole": _nmi_cell(row, plan.alpha),
            "cells": [_nmi_cell(variant.row(row.label.name), plan.alpha) for variant in variants],
        }
        for row in findings.test.agreements
    ]
    ends = [
        {
            "label": "ARI of two halves",
            "whole": _number_or_dash(findings.quality.get("stability")),
            "cells": [_number_or_dash(variant.stability) for variant in variants],
        },
        {
            "label": "ARI with the groups",
            "whole": NONE,
            "cells": [_number_or_dash(variant.same) for variant in variants],
        },
    ]
    return {"columns": names, "rows": rows, "ends": ends}


def entanglement_table(labels: Sequence[Label], pairs: np.ndarray) -> Row:
    """NMI of every pair of labels, `pairs[i, j]`, as a heat table."""
    rows = [
        heat_row(
            label.title,
            [heat_cell("", 0.0) if i == j else heat_cell(f"{value:.2f}", value) for j, value in enumerate(pairs[i])],
        )
        for i, label in enumerate(labels)
    ]
    return heat_table("", "", [label.title for label in labels], rows)


def composition_table(composition: Composition) -> Row:
    """Every group (columns) by the values of one label (rows), in percent of the group's samples."""
    sizes = composition.counts.sum(axis=1)
    fractions = composition.counts / np.maximum(sizes[:, None], 1)
    rows = [
        heat_row(value, [heat_cell(f"{100 * fraction:.0f}", float(fraction)) for fraction in fractions[:, number]])
        for number, value in enumerate(composition.label.values)
    ]
    columns = [f"{group} ({size:,})" for group, size in enumerate(sizes)]
    return heat_table(composition.label.title, "group (samples)", columns, rows)


def _nmi_cell(row: LabelAgreement | VariantLabel, alpha: float) -> Row:
    return interval_cell(row.agreement.nmi, number, "shown" if row.p_corrected < alpha else "")


def _number_or_dash(value: float | None) -> str:
    return NONE if value is None else number(value)
