"""The page's RQ1 section: maps, agreement of groups with labels, and gradient clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.report.analysis.agreement import entanglement
from pipeline.report.analysis.evidence import Evidence, groups_of
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.gradient import GradientFindings
from pipeline.report.analysis.labels import Label, candidates, labels
from pipeline.report.analysis.plan import ACTIVATION, Plan
from pipeline.report.page import figures, group_figures, group_rows
from pipeline.report.page.style import SERIES, Figure
from pipeline.report.text.gradient import gradient_sentences

MAP_LABELS = ("computation", "subject", "template", "shots", "length")


def group_context(plan: Plan, evidence: Evidence, findings: Findings) -> dict[str, Any]:
    """Everything the section shows; entries are empty or None where no groups were learned."""
    agreements, compositions = findings.test.agreements, findings.test.compositions
    ranking = [row.label.name for row in agreements]
    shown = candidates({composition.label.name: composition.label for composition in compositions})
    ordered = sorted(compositions, key=lambda item: (item.label.name not in shown, ranking.index(item.label.name)))
    maps, facets = _maps(evidence) if ACTIVATION in plan.schemes else ([], [])
    variants, depth = None, None
    if findings.variants:
        variants = group_rows.variant_table(plan, findings)
        depth = group_figures.depth_panel(agreements, findings.variants, shown, plan.alpha, "depth")
    return {
        "mapped": f"{len(evidence.cluster_map):,}",
        "maps": maps,
        "facets": facets,
        "agreement": group_rows.agreement_rows(plan, findings),
        "agreement_figure": group_figures.agreement_panel(agreements, "agreement") if agreements else None,
        "variants": variants,
        "depth_figure": depth,
        "entanglement": group_rows.entanglement_table(*entanglement(evidence, "test")),
        "compositions": [group_rows.composition_table(composition) for composition in ordered],
        "gradient": gradient_context(findings.gradient),
    }


def gradient_context(gradient: GradientFindings | None) -> dict[str, Any] | None:
    """Sentences about the gradient clusters, and their composition by the labels that could explain them; None where
    there are none.
    """
    if gradient is None:
        return None
    allowed = candidates({composition.label.name: composition.label for composition in gradient.compositions})
    tables = [
        group_rows.composition_table(composition)
        for composition in gradient.compositions
        if composition.label.name in allowed
    ]
    return {"sentences": gradient_sentences(gradient), "tables": tables}


def _maps(evidence: Evidence) -> tuple[list[Figure], list[Figure]]:
    """One panel for every label with few values, one grid of panels for every label with many."""
    positions = evidence.cluster_map.sort_values("sample_id").set_index("sample_id")
    samples = evidence.samples.set_index("sample_id").loc[positions.index]
    x, y = positions["x"].to_numpy(), positions["y"].to_numpy()
    known = labels(samples)
    groups, codes = np.unique(groups_of(evidence, ACTIVATION, samples.index), return_inverse=True)
    shown: list[Label] = [_GroupLabel("group", tuple(f"group {group}" for group in groups), codes)]
    shown += [known[name] for name in MAP_LABELS if name in known]
    if not {"computation", "subject"} & known.keys() and "task" in known:
        shown.append(known["task"])
    panels: list[Figure] = []
    facets: list[Figure] = []
    for label in shown:
        has_few = len(label.values) <= len(SERIES)
        draw, drawn = (figures.map_panel, panels) if has_few else (figures.map_facets, facets)
        drawn.append(draw(x, y, label, f"by {label.title}", f"map_{label.name}"))
    return panels, facets


class _GroupLabel(Label):
    """The learned groups, drawn like a label."""

    @property
    def title(self) -> str:
        return "learned group"
