"""The order of everything on the page, for an experiment that has all of it, as `layout.txt` has it.

Cells, sentences and figures are tested elsewhere; this guards what a reader sees where. After a wanted change:

    REFRESH_LAYOUT=1 python -m pytest tests/pipeline/report/page/test_layout.py

and read the difference before committing it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lxml.html
import numpy as np

from pipeline.grouping.schemes import ACTIVATION_RANDOM_SCHEMES
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.page import render
from tests.pipeline.report.synthetic import as_text, make_evidence, with_draws, with_kl, with_limits
from tests.pipeline.report.timings import timed

LAYOUT = Path(__file__).with_name("layout.txt")
REFRESH = "REFRESH_LAYOUT"
FIRST, ALL = 8, 12
"""Test samples of a task that every method has, and that the primary methods have."""


def full_plan() -> Plan:
    """Two configurations with groups, replicates of random groups, both kinds of routers, a primary comparison."""
    benefit = Method("clustered_benefit", "clustered", "activation", "wina", "greedy", "benefit", "threshold")
    methods = dict.fromkeys((*with_kl().methods, *with_draws().methods, benefit))
    return with_kl(
        methods=tuple(methods),
        schemes=("global", "activation", "task", *ACTIVATION_RANDOM_SCHEMES, "gradient", "gradient_random"),
        benefit_routers={"benefit": "activation"},
        limits={"test": FIRST},
        primary=("kl", "kl_embedding", "kl_random"),
        primary_targets=(0.5, 0.65),
    )


def full_evidence(plan: Plan) -> Evidence:
    """Tables of that plan with a text task, timings, and a sample that was left out."""
    evidence = with_limits(plan, as_text(make_evidence(4, ALL, gain=0.2, plan=plan), ["facts"]))
    counts = evidence.sample_counts.assign(too_long=np.arange(len(evidence.sample_counts)) == 0)
    return timed(plan, replace(evidence, sample_counts=counts))


def layout(html: str) -> Iterator[str]:
    """A line for every heading, card, figure, table and fold of the page, in order; what is folded is indented."""
    tree: Any = lxml.html.fromstring(html)
    for element in tree.iter("h1", "h2", "article", "details", "figure", "table"):
        line = _line(element)
        if line is not None:
            yield "    " * sum(parent.tag == "details" for parent in element.iterancestors()) + line


def _line(element: Any) -> str | None:
    match element.tag:
        case "article":
            tone, key = element.get("class").removeprefix("card "), _text(element.find("h2/b"))
            return f"card {key}, {tone}: {_text(element.find_class('answer')[0])}"
        case "details":
            return f"fold: {_text(element.find('summary'))}"
        case "figure":
            return f"figure {element.get('id').removeprefix('figure-')}: {element.find('.//svg').get('aria-label')}"
        case "table":
            heads = " | ".join(_text(head) for head in element.xpath("thead/tr/th"))
            return f"table of {len(element.xpath('tbody/tr'))} rows: {heads}"
        case heading:
            is_in_card = element.getparent().tag == "article"
            return None if is_in_card else f"{heading} {_text(element)}"


def _text(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_the_page_has_the_recorded_layout():
    plan = full_plan()
    evidence = full_evidence(plan)
    html, files = render(plan, evidence, find(plan, evidence))
    lines = list(layout(html))
    drawn = [line.split()[1].rstrip(":") for line in lines if line.split()[0] == "figure"]
    assert drawn == [Path(name).stem for name in files if name.startswith("figures/")]
    if os.environ.get(REFRESH):
        LAYOUT.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert lines == LAYOUT.read_text(encoding="utf-8").splitlines()
