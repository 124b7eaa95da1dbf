"""Findings about gradient clusters: which samples they hold, and how many of them are worth having.

Gains are those of `pipeline/grouping/gradient_clusters.py`, measured on held-out train texts. They have no meaningful
unit, so they are only compared with each other: between numbers of clusters, and with other groups of the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.analysis.agreement import Composition, compositions
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Plan
from wina_amp.names import GRADIENT


@dataclass(frozen=True)
class GradientFindings:
    """The record of stage gradient_clusters (`quality`), and the composition of the clusters on the test split."""

    quality: Mapping[str, Any]
    compositions: list[Composition]


def gradient_findings(plan: Plan, evidence: Evidence) -> GradientFindings | None:
    """None where the scheme is not part of the plan."""
    if GRADIENT not in plan.schemes:
        return None
    return GradientFindings(evidence.gradient, compositions(plan, evidence, "test", GRADIENT))
