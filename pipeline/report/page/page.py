"""The HTML page: answers, figures and tables put into `page.html.j2`. One file; nothing is loaded.

`page.css` holds the look, `page.js` what moves, `page.html.j2` the arrangement; all are inlined, and the page is
complete without the script and in print. No clock enters, so equal tables and an equal plan give equal bytes: the date
is the commit's, and machine and time are those that stages noted when they ran (`stages/inputs/durations.py`), so that
the page of the same run is the same page, and only the time differs between two equal runs.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup, escape
from ruamel.yaml import YAML

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page import figures, svg
from pipeline.report.page.accuracy_figure import accuracy
from pipeline.report.page.parts import unfolded
from pipeline.report.page.sample_map import map_of
from pipeline.report.page.sections import sections
from pipeline.report.page.table import Table
from pipeline.report.text.cards import cards, headline
from pipeline.report.text.confirmed import confirmed_words
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import listed, target_name, target_names
from wina_amp.names import ACTIVATION

_FOLDER = Path(__file__).parent
_PACKAGES = ("torch", "transformers", "lm_eval", "scikit-learn", "umap-learn", "numpy", "pandas")


def render(plan: Plan, evidence: Evidence, findings: Findings) -> tuple[str, dict[str, str]]:
    """The HTML page, and every figure and table in it: name of a file -> its content."""
    lines = figures.featured(plan, findings)
    timed = [timing.method for cell in findings.latency.cells for timing in cell.timings]
    style = figures.looks(plan, [*lines, *timed])
    answers = cards(plan, findings)
    drawn_map, data = None, None
    if ACTIVATION in plan.schemes and len(evidence.cluster_map):
        drawn_map, data = map_of(
            evidence, next(f"Do inputs cluster? {card.answer}." for card in answers if card.key == "RQ1")
        )
    first = accuracy(findings.test, lines, style) if findings.test.points else None
    parts = sections(plan, evidence, findings, style, drawn_map)
    context = {
        "headline": headline(plan, findings),
        "model": plan.facts.get("Model", ""),
        "confirmed": findings.confirmed and confirmed_words(plan, findings.confirmed),
        "first": first,
        "chips": _chips(plan, lines, style) if first else [],
        "targets": [(figures.key(target), target_name(target)) for target in plan.targets],
        "strip": _strip(plan, findings),
        "cards": answers,
        "confidence": target_name(plan.confidence),
        "sections": parts,
        "commit": plan.commit,
        "params": as_yaml(plan.settings),
        "results": _digest(evidence),
        "versions": _versions(),
        "map_data": data,
    }
    files = {f"figures/{first.name}.svg": first.file} if first else {}
    for section in parts:
        for number, part in enumerate(unfolded(section.parts), start=1):
            if isinstance(part, svg.Figure):
                files[f"figures/{part.name}.svg"] = part.file
            elif isinstance(part, Table):
                files[f"tables/{section.id}_{number:02}_{_slug(part.caption)}.csv"] = part.csv
    return fill("page.html.j2", page=context), files


def fill(template: str, **values: object) -> str:
    """A template of this folder, with style and script."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"marked": _marked, "breakable": _breakable, "figure": svg.shown, "data": _data}
    colours = (
        f":root{{{svg.variables(svg.LIGHT)}}}@media (prefers-color-scheme:dark){{:root{{{svg.variables(svg.DARK)}}}}}"
    )
    colours += f"@media print{{:root{{{svg.variables(svg.LIGHT)}}}}}"
    css, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return environment.get_template(template).render(css=Markup(colours + css), script=Markup(script), **values)


def as_yaml(settings: Mapping[str, Any]) -> str:
    """The settings as they would stand in params.yaml."""
    writer, text = YAML(typ="safe", pure=True), StringIO()
    writer.default_flow_style, writer.width, writer.sort_base_mapping_type_on_output = None, 100, False  # type: ignore[attr-defined]
    writer.dump(json.loads(json.dumps(settings, default=list)), text)
    return text.getvalue()


def _chips(plan: Plan, shown: Sequence[Method], style: figures.Looks) -> list[dict[str, Any]]:
    """A switch for every method of the figures, with its colour and marker."""
    ordered = [*shown, *(method for method in plan.methods if method not in shown)]
    marks = {method: Markup(svg.sign(*style[method.name])) for method in ordered}
    return [{"id": m.name, "name": display_name(plan, m), "is_on": m in shown, "mark": marks[m]} for m in ordered]


def _strip(plan: Plan, findings: Findings) -> dict[str, str]:
    """What was compared, in a few words each."""
    timed_on = findings.latency.facts.get("machine", {}).get("device", "not known")
    samples = f"{findings.test.samples:,} for every method"
    if findings.answering is not findings.test:
        samples += f", {findings.answering.samples:,} for the answers"
    tasks = len(findings.test.tasks) + len(findings.test.texts)
    return {
        "Held-out samples": f"{samples}; {tasks} tasks",
        "Sparsity targets": target_names(plan.targets),
        "Code": plan.commit or "no commit",
        "Machine": plan.facts.get("Machine", timed_on),
        "Computing time": plan.facts.get("Time", "not known"),
    }


def _digest(evidence: Evidence) -> str:
    """Of every score of every method: two runs with the same one measured the same."""
    digest = hashlib.sha256()
    for name in sorted(evidence.results):
        rows = evidence.results[name].sort_values(["split", "target", "sample_id"])
        digest.update(name.encode() + np.ascontiguousarray(rows["score"].to_numpy(dtype=np.float64)).tobytes())
    return digest.hexdigest()[:16]


def _marked(words: str) -> Markup:
    """`name` in backticks becomes code; everything else is escaped."""
    parts = str(escape(words)).split("`")
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


def _breakable(name: str) -> Markup:
    """An id may break after an underscore."""
    return Markup(str(_marked(name)).replace("_", "_<wbr>"))


def _slug(caption: str) -> str:
    return re.sub(r"\W+", "_", caption.lower()).strip("_")[:40].strip("_")


def _data(value: object) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def _versions() -> str:
    named = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            named.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return f"{listed(named)} on {platform.machine()}"
