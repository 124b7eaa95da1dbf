"""The page's part about gradient clusters (like `pipeline/report/page/rows.py`)."""

from __future__ import annotations

from typing import Any

from pipeline.report.analysis.gradient import GradientFindings
from pipeline.report.analysis.labels import candidates
from pipeline.report.page.group_rows import composition_table
from pipeline.report.page.rows import Row
from pipeline.report.text.gradient import gradient_sentences


def gradient_context(found: GradientFindings | None) -> dict[str, Any]:
    """The page's part of it: sentences, and the make-up of the groups by the labels that could explain them."""
    if found is None:
        return {"gradient": None}
    allowed = candidates({one.label.name: one.label for one in found.compositions})
    tables: list[Row] = [composition_table(one) for one in found.compositions if one.label.name in allowed]
    return {"gradient": {"sentences": gradient_sentences(found), "tables": tables}}
