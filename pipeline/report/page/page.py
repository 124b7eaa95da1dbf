"""The HTML page: findings, figures and sentences put into `page.html.j2`. One file, no scripts, nothing loaded.

`page.css` holds the look, `page.html.j2` the arrangement; both are inlined. No clock and no path enters, so equal
tables give equal bytes.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import jinja2
from markupsafe import Markup, escape

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.page import figures, router_rows, rows, text_rows
from pipeline.report.page.group_page import group_context
from pipeline.report.page.latency_rows import latency_context
from pipeline.report.page.profile_page import profile_context
from pipeline.report.page.style import Figure
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
    page = _context(plan, evidence, findings)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"marked": _marked, "breakable": _breakable}
    css = (_FOLDER / "page.css").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(page=page, css=css), list(_figures_in(page))


def _context(plan: Plan, evidence: Evidence, findings: Findings) -> dict[str, Any]:
    test = findings.test
    return {
        "summary": _summary(plan, findings),
        "verdicts": verdicts(plan, findings),
        "confidence": target_name(plan.confidence),
        "alpha": f"{plan.alpha:g}",
        "replicates": f"{plan.bootstrap:,}",
        "baseline": plan.baseline,
        "targets": [target_name(target) for target in plan.targets],
        "limits": limits(test.points, plan),
        "tolerance": f"{100 * TOLERANCE:g}",
        "legend": figures.legend(plan),
        **group_context(plan, evidence, findings),
        **profile_context(plan, findings),
        "routers": router_rows.router_table(findings),
        "benefit_routers": router_rows.benefit_router_table(findings.benefit_routers),
        "regrets": router_rows.regret_table(plan, test.regrets),
        "confusions": [router_rows.confusion_table(row) for row in test.routers],
        "latency": latency_context(plan, findings.latency),
        "tradeoff": rows.tradeoff_rows(plan, test),
        "budget": rows.budget_rows(plan, test),
        "texts": text_rows.perplexity_tables(test.texts),
        "tasks": rows.task_tables(plan, test.tasks),
        "left_out": text_rows.left_out_sentences(evidence.sample_counts),
        "methods": rows.method_rows(plan),
        "rules": rules(plan),
        "settings": rows.settings_rows(plan.settings),
        "versions": _versions(),
    }


def _figures_in(value: object) -> Iterator[Figure]:
    if isinstance(value, Figure):
        yield value
    elif isinstance(value, Mapping | list):
        entries = cast("Iterable[object]", value.values() if isinstance(value, Mapping) else value)
        for entry in entries:
            yield from _figures_in(entry)


def _summary(plan: Plan, findings: Findings) -> str:
    counts = listed([f"{split.samples:,} {name} samples" for name, split in findings.splits.items()])
    tasks = len(findings.test.tasks) + len(findings.test.texts)
    model = plan.settings.get("model", {}).get("path", "the model")
    return (
        f"{len(plan.sparse)} sparsity methods on `{model}`, each at "
        f"{listed([target_name(target) for target in plan.targets])} target sparsity, compared with each other and "
        f"with the dense model on {tasks} tasks ({counts})."
    )


def _marked(text: str) -> Markup:
    """`name` in backticks becomes code; everything else is escaped."""
    parts = str(escape(text)).split("`")
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


def _breakable(name: object) -> str:
    """Lets a long name break after an underscore."""
    return str(name).replace("_", "_\N{ZERO WIDTH SPACE}")


def _versions() -> str:
    named = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            named.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"Written with {listed(named)} on {platform.machine()}."
