"""The page: findings, figures and words put into `page.html.j2`. One file, no scripts, nothing loaded from anywhere.

The look stands in `page.css`, the arrangement in `page.html.j2`; both are inlined. No clock and no path enters, so
equal tables give equal bytes.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from pipeline.report.analysis.agreement import entanglement
from pipeline.report.analysis.evidence import Evidence, groups_of
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.labels import Label, candidates, labels
from pipeline.report.analysis.plan import ACTIVATION, Plan
from pipeline.report.page import figures, group_figures, group_rows, router_rows, rows, text_rows
from pipeline.report.page.gradient_rows import gradient_context
from pipeline.report.page.latency_rows import latency_context
from pipeline.report.page.profile_page import profile_context
from pipeline.report.page.style import SERIES, Figure
from pipeline.report.text.methods import limits
from pipeline.report.text.rules import TOLERANCE, rules
from pipeline.report.text.verdicts import verdicts
from pipeline.report.text.wording import listed, target_name

_FOLDER = Path(__file__).parent
_PACKAGES = (
    "torch",
    "transformers",
    "lm_eval",
    "scikit-learn",
    "umap-learn",
    "numpy",
    "pandas",
    "pyarrow",
    "matplotlib",
)


def render(plan: Plan, evidence: Evidence, findings: Findings) -> tuple[str, list[Figure]]:
    """The HTML page, and every figure in it."""
    drawn: list[Figure] = []
    page = _Drawing(plan, evidence, findings, drawn).context()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"marked": _marked, "breakable": _breakable}
    css = (_FOLDER / "page.css").read_text()
    return environment.get_template("page.html.j2").render(page=page, css=css), drawn


class _Drawing:
    """Builds the template's context and keeps every figure it draws."""

    def __init__(self, plan: Plan, evidence: Evidence, findings: Findings, drawn: list[Figure]) -> None:
        self.plan, self.evidence, self.findings, self.drawn = plan, evidence, findings, drawn

    def context(self) -> dict[str, Any]:
        plan, findings, test = self.plan, self.findings, self.findings.test
        return {
            "summary": self._summary(),
            "verdicts": verdicts(plan, findings),
            "confidence": target_name(plan.confidence),
            "alpha": f"{plan.alpha:g}",
            "replicates": f"{plan.bootstrap:,}",
            "mapped": f"{len(self.evidence.cluster_map):,}",
            "baseline": plan.baseline,
            "legend": figures.legend(plan),
            **self._groups(),
            **gradient_context(findings.gradient),
            **profile_context(plan, findings, self._keep),
            "routers": router_rows.router_table(findings),
            "benefit_routers": router_rows.benefit_router_table(findings.benefit_routers),
            "regrets": router_rows.regret_table(plan, test.regrets),
            "confusions": [router_rows.confusion_table(row) for row in test.routers],
            "targets": [target_name(target) for target in plan.targets],
            "budget": rows.budget_rows(plan, test),
            "latency": latency_context(plan, findings, self._keep),
            "tradeoff": rows.tradeoff_rows(plan, test),
            "limits": limits(test.points, plan),
            "tolerance": f"{100 * TOLERANCE:g}",
            "tasks": rows.task_tables(plan, test.tasks) if test.tasks else [],
            "texts": text_rows.perplexity_tables(test.texts),
            "left_out": text_rows.left_out_sentences(self.evidence.sample_counts),
            "methods": rows.method_rows(plan),
            "rules": rules(plan),
            "settings": rows.settings_rows(plan.settings),
            "versions": _versions(),
        }

    def _keep(self, figure: Figure) -> Figure:
        self.drawn.append(figure)
        return figure

    def _summary(self) -> str:
        plan, splits = self.plan, self.findings.splits
        counts = listed([f"{split.samples:,} {name} samples" for name, split in splits.items()])
        tasks = len(self.findings.test.tasks) + len(self.findings.test.texts)
        model = plan.settings.get("model", {}).get("path", "the model")
        sparse = len(plan.sparse)
        return (
            f"{sparse} ways of skipping inputs of the weight matrices of `{model}`, each at "
            f"{listed([target_name(target) for target in plan.targets])} target sparsity, compared with each other and "
            f"with the dense model on {tasks} tasks ({counts})."
        )

    def _groups(self) -> dict[str, Any]:
        findings = self.findings
        has_groups = ACTIVATION in self.plan.schemes
        maps, facets = self._maps() if has_groups else ([], [])
        table = group_rows.agreement_rows(self.plan, findings)
        figure = self._keep(group_figures.agreement_panel(findings.test.agreements, "agreement")) if table else None
        ranking = [row.label.name for row in findings.test.agreements]
        shown = candidates({item.label.name: item.label for item in findings.test.compositions})
        ordered = sorted(
            findings.test.compositions,
            key=lambda item: (item.label.name not in shown, ranking.index(item.label.name)),
        )
        return {
            "maps": maps,
            "facets": facets,
            "agreement": table,
            "agreement_figure": figure,
            **self._variants(shown),
            "entanglement": group_rows.entanglement_table(*entanglement(self.evidence, "test")),
            "compositions": [group_rows.composition_table(item) for item in ordered],
        }

    def _variants(self, shown: list[str]) -> dict[str, Any]:
        """Other clusterings of the same samples: none where no groups were learned."""
        plan, findings = self.plan, self.findings
        if not findings.variants:
            return {"variants": None, "depth_figure": None}
        figure = group_figures.depth_panel(findings.test.agreements, findings.variants, shown, plan.alpha, "depth")
        return {"variants": group_rows.variant_table(plan, findings), "depth_figure": self._keep(figure)}

    def _maps(self) -> tuple[list[Figure], list[Figure]]:
        place = self.evidence.cluster_map.sort_values("sample_id").set_index("sample_id")
        samples = self.evidence.samples.set_index("sample_id").loc[place.index]
        x, y = place["x"].to_numpy(), place["y"].to_numpy()
        known = labels(samples)
        shown = [_group_label(self.evidence, samples.index)]
        shown += [known[name] for name in ("computation", "subject", "template", "shots", "length") if name in known]
        if "computation" not in known and "subject" not in known and "task" in known:
            shown.append(known["task"])
        panels = [label for label in shown if len(label.values) <= len(SERIES)]
        many = [label for label in shown if len(label.values) > len(SERIES)]
        small = [
            self._keep(figures.map_panel(x, y, label, f"by {label.title}", f"map_{label.name}")) for label in panels
        ]
        facets = [
            self._keep(figures.map_facets(x, y, label, f"by {label.title}", f"map_{label.name}")) for label in many
        ]
        return small, facets


class _GroupLabel(Label):
    """The learned groups, drawn like a label."""

    @property
    def title(self) -> str:
        return "learned group"


def _group_label(evidence: Evidence, order: pd.Index) -> Label:
    groups = groups_of(evidence, ACTIVATION, order)
    present, codes = np.unique(groups, return_inverse=True)
    return _GroupLabel("group", tuple(f"group {group}" for group in present), codes)


def _marked(text: str) -> Markup:
    """`name` in backticks becomes code; everything else is escaped."""
    parts = str(escape(text)).split("`")
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


def _breakable(name: object) -> str:
    """Lets a long name break after an underscore."""
    return str(name).replace("_", "_\N{ZERO WIDTH SPACE}")


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"Written with {listed(found)} on {platform.machine()}."
