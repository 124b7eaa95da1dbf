"""RQ1's tables: what the groups follow, where in the model, and who is in them (like
`pipeline/report/page/rows.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.agreement import Composition
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.labels import Label
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.variants import Variant, by_block, without_length
from pipeline.report.page.rows import NONE, Row, heat_cell, heat_table
from pipeline.report.text.wording import number, p_value, percent
from pipeline.statistics.bootstrap import Interval


def agreement_rows(plan: Plan, findings: Findings) -> list[Row]:
    """What the groups follow, label by label. The last columns are the same NMI at like length, of groups found without
    length, and on the training split.
    """
    train = {row.label.name: row.found.nmi for row in findings.train.agreements} if findings.train else {}
    apart = without_length(findings.variants)
    removed = {row.label.name: row.found.nmi for row in apart.rows} if apart else {}
    return [
        {
            "label": row.label.title,
            "classes": len(row.label.values),
            "nmi": _numbers(row.found.nmi),
            "ari": _numbers(row.found.ari),
            "purity": _numbers(row.found.purity),
            "p": {"text": p_value(row.p_corrected), "bold": row.p_corrected < plan.alpha},
            "chance": number(row.chance.nmi.value) if row.chance else NONE,
            "determined": percent(row.determined, 0),
            "within": number(row.within_length) if row.within_length is not None else NONE,
            "removed": number(removed[row.label.name].value) if row.label.name in removed else NONE,
            "train": number(train[row.label.name].value) if row.label.name in train else NONE,
        }
        for row in findings.test.agreements
    ]


def variant_table(plan: Plan, findings: Findings) -> Row:
    """NMI of every label (rows) with the groups of every clustering (columns): all blocks', those without length, and
    each block's; then how reproducible each clustering is and how like the learned one.
    """
    blocks, apart = by_block(findings.variants), without_length(findings.variants)
    shown = [*([apart] if apart else []), *blocks]
    names = (["length removed"] if apart else []) + [f"block {one.block}" for one in blocks]
    rows = [
        {
            "label": row.label.title,
            "whole": _marked(row.found.nmi, row.p_corrected, plan.alpha),
            "cells": [_variant_cell(one, row.label.name, plan.alpha) for one in shown],
        }
        for row in findings.test.agreements
    ]
    stability = findings.quality.get("stability")
    ends = [
        {
            "label": "ARI of two halves",
            "whole": _or_dash(stability),
            "cells": [_or_dash(one.stability) for one in shown],
        },
        {"label": "ARI with the groups", "whole": NONE, "cells": [_or_dash(one.same) for one in shown]},
    ]
    return {"columns": names, "rows": rows, "ends": ends}


def entanglement_table(known: Sequence[Label], pairs: np.ndarray) -> Row:
    """NMI between labels, as a heat table."""
    rows = [
        {
            "name": label.title,
            "extra": [],
            "cells": [
                heat_cell(f"{value:.2f}", value) if i != j else heat_cell("", 0.0) for j, value in enumerate(pairs[i])
            ],
        }
        for i, label in enumerate(known)
    ]
    return heat_table("", "", [label.title for label in known], rows)


def composition_table(composition: Composition) -> Row:
    """The make-up of every group (columns) by the values of one label (rows): shares of the group in percent."""
    counts = composition.counts
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        {
            "name": value,
            "extra": [],
            "cells": [heat_cell(f"{100 * fraction:.0f}", float(fraction)) for fraction in fractions[:, i]],
        }
        for i, value in enumerate(composition.label.values)
    ]
    columns = [f"{group} ({total:,})" for group, total in enumerate(counts.sum(axis=1))]
    return heat_table(composition.label.title, "group (samples)", columns, rows)


def _variant_cell(one: Variant, label: str, alpha: float) -> Row:
    row = one.row(label)
    return _marked(row.found.nmi, row.p_corrected, alpha)


def _marked(nmi: Interval, p: float, alpha: float) -> Row:
    return {**_numbers(nmi), "tone": "shown" if p < alpha else ""}


def _numbers(interval: Interval) -> Row:
    return {"value": number(interval.value), "low": number(interval.low), "high": number(interval.high), "tone": ""}


def _or_dash(value: float | None) -> str:
    return NONE if value is None else number(value)
