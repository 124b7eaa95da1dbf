"""The page: one file that needs nothing else, for any set of methods (equal bytes: `exports/test_write.py`)."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from io import StringIO

import lxml.html
import numpy as np
import pandas as pd
import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.plan import Method
from pipeline.report.page.page import render
from pipeline.report.page.svg import DARK, LIGHT
from tests.pipeline.report.synthetic import METHODS, make_evidence, make_plan, with_kl


def test_the_page_is_one_file_that_asks_for_nothing(page):
    html, _ = page
    tree = lxml.html.fromstring(html)
    assert not tree.xpath("//img | //iframe | //object | //script[@src]")
    assert tree.xpath("//link/@href") == ["data:,"]  # an empty icon, or browsers ask for one
    assert all(link.startswith("#") for link in tree.xpath("//a/@href"))
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {"http://www.w3.org/2000/svg"}
    assert "url(" not in html and "@import" not in html
    assert len(html) < 3e6


def test_references_inside_the_page_are_unique_and_resolved(page):
    tree = lxml.html.fromstring(page[0])
    ids = tree.xpath("//@id")
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in tree.xpath("//a/@href")} | set(re.findall(r"url\(#([^)]+)\)", page[0]))
    assert targets <= set(ids)


def test_figures_follow_the_theme_and_files_have_colours_of_their_own(page):
    html, files = page
    drawings = re.findall(r"<svg xmlns.*?</svg>", html, flags=re.DOTALL)
    assert len(drawings) > len([name for name in files if name.endswith(".svg")]) > 4
    for drawing in drawings:
        assert not re.findall(r"#[0-9a-f]{6}", drawing)
        assert set(re.findall(r"var\(--(\w+)\)", drawing)) <= LIGHT.keys()
        ElementTree.fromstring(drawing)
        assert 'role="img" aria-label="' in drawing
    for name, content in files.items():
        if name.endswith(".svg"):
            assert "--ink:#" in content
            ElementTree.fromstring(content)


def test_every_table_is_a_file_with_the_numbers_behind_its_cells(page):
    html, files = page
    tables = {name: pd.read_csv(StringIO(content)) for name, content in files.items() if name.startswith("tables/")}
    assert len(tables) == len(lxml.html.fromstring(html).xpath("//table"))
    (accuracy,) = (table for name, table in tables.items() if name.endswith("_accuracy_by_method_and_target.csv"))
    shown = lxml.html.fromstring(html).xpath("//section[@id='rq4']//tr[th='teal']/td/@data-value")
    row = accuracy.set_index("method").loc["teal"]
    targets = ("25%", "40%", "50%", "65%")
    assert [row[target] for target in targets] == pytest.approx([float(value) for value in shown], rel=1e-5)
    assert all(row[f"{target}, low"] < row[target] < row[f"{target}, high"] for target in targets)


def test_text_and_lines_are_readable_on_both_papers():
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    assert LIGHT.keys() == DARK.keys()
    for colours in (LIGHT, DARK):
        for name, colour in colours.items():
            low, high = sorted([luminance(colour), luminance(colours["paper"])])
            if name not in ("paper", "raised", "grid"):
                assert (high + 0.05) / (low + 0.05) >= 4.5, name  # WCAG 2.2, AA, of text


def test_the_first_table_begins_with_the_question_as_it_was_asked(page):
    first = lxml.html.fromstring(page[0]).xpath("(//table)[1]/tbody/tr[th[@scope='row']][1]/th")[0]
    assert first.text_content().startswith("WINA + greedy, routed clusters")
    assert first.xpath(".//small/text()")[0] == "clustered_embedding \N{MINUS SIGN} greedy"


def test_every_method_task_and_verdict_is_on_the_page(plan, evidence, page):
    text = lxml.html.fromstring(page[0]).text_content()
    for name in [
        *(method.name for method in plan.methods),
        *evidence.samples["task"].unique(),
        "RQ1",
        "RQ2",
        "RQ3",
        "RQ4",
    ]:
        assert name.replace("_", "") in text.replace("_", "").replace("\N{ZERO WIDTH SPACE}", "")
    assert "None" not in text and "nan" not in text.split()
    assert "clustered_<wbr>oracle" in page[0] and "&lt;" not in page[0]  # ids may break, and nothing is escaped twice


def test_only_labels_with_a_low_p_value_are_bold(plan, findings, page):
    tree = lxml.html.fromstring(page[0])
    rows = {row.label.title: row for row in findings.agreements}
    heads = [head.text_content() for head in tree.xpath("//th[contains(., 'purity')]/../th")]
    column = heads.index("p, corrected")
    for line in tree.xpath("//th[contains(., 'purity')]/ancestor::table/tbody/tr"):
        row = rows[line.xpath("th/text()")[0].strip()]
        cell = line.xpath("*")[column]
        assert ("clear" in cell.get("class", "")) == (row.p_corrected < plan.alpha)
    assert len({row.p_corrected < plan.alpha for row in rows.values()}) == 2


def test_names_from_params_are_escaped(plan, evidence, findings):
    hostile = replace(plan, settings={"model": {"path": "<b>`x`</b>"}})
    html, _ = render(hostile, evidence, findings)
    assert "<b>`" not in html
    assert "&lt;b&gt;" in html


def with_many() -> dict[str, object]:
    """More profile sets than colours."""
    return {"methods": (*METHODS, *(replace(METHODS[2], name=f"extra{i}", profile=f"extra{i}") for i in range(9)))}


def with_limited() -> dict[str, object]:
    """Methods whose masks reach only a part of the weights, pooled, with true and with routed groups."""
    cats = [
        Method("cats", "cats", "global", "cats", "uniform", "assigned", "threshold", is_limited=True),
        Method("cats_oracle", "cats_groups", "activation", "cats", "uniform", "assigned", "topk", is_limited=True),
        Method("cats_routed", "cats_groups", "activation", "cats", "uniform", "scores", "topk", is_limited=True),
        Method("cats_random", "cats_random", "random", "cats", "uniform", "assigned", "topk", is_limited=True),
    ]
    return {"methods": (*METHODS, *cats)}


def test_a_target_out_of_reach_is_a_dash_and_the_page_says_why(page):
    plan = make_plan(**with_limited())
    evidence = make_evidence(2, 4, plan=plan)
    html, _ = render(plan, evidence, find(plan, evidence))
    tree = lxml.html.fromstring(html)
    assert "A dash: the masks of the method reach fewer weights than the target needs." in tree.text_content()
    row = tree.xpath("//section[@id='rq4']//tr[th='cats']")[0]
    assert [cell.text_content() == "—" for cell in row.xpath("td")] == [False, False, False, True, True]
    assert "A dash: the masks" not in page[0]


def test_gradient_clusters_are_shown_where_they_are_in_the_plan(page):
    plan = make_plan(schemes=(*make_plan().schemes, "gradient"))
    evidence = make_evidence(2, 4, plan=plan)
    html, _ = render(plan, evidence, find(plan, evidence))
    assert "3 gradient clusters" in html and "3 gradient clusters" not in page[0]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"methods": METHODS[:4], "schemes": ("global",), "routers": {}}, id="pooled only"),
        pytest.param({"methods": METHODS[:4], "schemes": ("global", "activation"), "routers": {}}, id="groups unused"),
        pytest.param({"methods": METHODS[:5], "routers": {"scores": "activation"}}, id="true groups only"),
        pytest.param({"methods": (*METHODS[:4], *METHODS[5:7])}, id="no true groups"),
        pytest.param({"splits": ("test",)}, id="test only"),
        pytest.param({"confidence": 0.8, "bootstrap": 100}, id="less sure"),
        pytest.param({"targets": (0.5,)}, id="one target"),
        pytest.param(with_many(), id="many methods"),
        pytest.param({"methods": with_kl().methods}, id="two configurations with groups"),
        pytest.param(
            {"methods": [one for one in with_kl().methods if one.name != "kl"]}, id="groups and no pooled method"
        ),
    ],
)
def test_any_set_of_methods_targets_and_splits_makes_a_page(changes):
    plan = make_plan(**changes)
    evidence = make_evidence(2, 4, plan=replace(make_plan(), methods=plan.methods))
    html, files = render(plan, evidence, find(plan, evidence))
    tree = lxml.html.fromstring(html)
    assert html.rstrip().endswith("</html>")
    assert len(files) == len(tree.xpath("//figure | //table"))  # none has the name of another


@pytest.mark.tried("errors", "right")
def test_a_page_shows_the_names_of_tasks_and_labels_whatever_stands_in_them():
    plan = make_plan()
    evidence = make_evidence(train=4, test=12, gain=0.2, plan=plan)
    odd = {"task": "$\\frac{ <b>&%s", "template": "_a\n$b$", "computation": "{{ x }}" + "y" * 300}
    samples = evidence.samples.assign(**{name: evidence.samples[name] + text for name, text in odd.items()})
    evidence = replace(evidence, samples=samples)
    text = lxml.html.fromstring(render(plan, evidence, find(plan, evidence))[0]).text_content()
    assert odd["task"] in text.replace("\N{ZERO WIDTH SPACE}", "")
