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

from pipeline.report import figures, rows, text_rows
from pipeline.report.agreement import entanglement
from pipeline.report.evidence import Evidence, groups_of
from pipeline.report.findings import Findings
from pipeline.report.labels import Label, candidates, labels
from pipeline.report.methods import limits
from pipeline.report.plan import ACTIVATION, Plan
from pipeline.report.specialisation import Specialisation
from pipeline.report.style import SERIES, Figure
from pipeline.report.verdicts import TOLERANCE, rules, verdicts
from pipeline.report.wording import listed, target_name

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
SIGNED_SPAN = 0.2
"""Difference of sparsities at which a cell of the specialisation figure has its full shade."""


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
            "samples": f"{sum(split.samples for split in findings.splits.values()):,}",
            "baseline": plan.baseline,
            "legend": figures.legend(plan),
            **self._groups(),
            **self._accuracy(),
            "differences": rows.difference_table(test),
            "results": rows.result_rows(test),
            "specialisations": [self._specialisation(item) for item in findings.specialisations],
            "train": self._train(),
            "routers": rows.router_table(findings),
            "regrets": rows.regret_table(plan, test.regrets),
            "confusions": [rows.confusion_table(row) for row in test.routers],
            "targets": [target_name(target) for target in plan.targets],
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

    def _accuracy(self) -> dict[str, Any]:
        """RQ2's figures; none where no test sample is right or wrong."""
        plan, test = self.plan, self.findings.test
        if not test.points:
            return {"difference_figure": None, "accuracy_figure": None}
        differences = figures.difference_panel(plan, test.differences, test.levels, "differences")
        accuracy = figures.accuracy_panel(plan, test.points, "Test split", "accuracy_test")
        return {"difference_figure": self._keep(differences), "accuracy_figure": self._keep(accuracy)}

    def _groups(self) -> dict[str, Any]:
        findings = self.findings
        has_groups = ACTIVATION in self.plan.schemes
        maps, facets = self._maps() if has_groups else ([], [])
        table = rows.agreement_rows(findings)
        figure = self._keep(figures.agreement_panel(findings.test.agreements, "agreement")) if table else None
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
            "entanglement": rows.entanglement_table(*entanglement(self.evidence, "test")),
            "compositions": [rows.composition_table(item) for item in ordered],
        }

    def _maps(self) -> tuple[list[Figure], list[Figure]]:
        samples = self.evidence.samples.sort_values("sample_id").set_index("sample_id")
        place = self.evidence.cluster_map.set_index("sample_id").reindex(samples.index)
        x, y = place["x"].to_numpy(), place["y"].to_numpy()
        known = labels(samples)
        shown = [_group_label(self.evidence, samples.index)]
        shown += [known[name] for name in ("computation", "subject", "surface", "shots", "length") if name in known]
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

    def _specialisation(self, item: Specialisation) -> dict[str, Any]:
        name = f"sparsity_{item.profile}"
        panels = [
            figures.sparsity_panel(item.pooled, item.projections, item.reference, f"{name}_pooled", 1.0, signed=False)
        ]
        for group, values in enumerate(item.groups):
            title, gap = f"group {group} \N{MINUS SIGN} pooled", values - item.pooled
            panel = figures.sparsity_panel(gap, item.projections, title, f"{name}_{group}", SIGNED_SPAN, signed=True)
            panels.append(panel)
        return {
            "profile": item.profile,
            "reference": item.reference,
            "target": target_name(item.target),
            "sentence": rows.specialisation_sentence(item),
            "figures": [self._keep(panel) for panel in panels],
        }

    def _train(self) -> dict[str, Any] | None:
        train = self.findings.train
        if train is None or not train.points:
            return None
        figure = figures.accuracy_panel(self.plan, train.points, "Training split (leaks)", "accuracy_train")
        table, results = rows.difference_table(train), rows.result_rows(train)
        return {"figure": self._keep(figure), "differences": table, "results": results}


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
