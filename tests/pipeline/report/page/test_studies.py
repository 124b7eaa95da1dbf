"""Studies stand side by side by their metrics alone, and gains are claimed over samples and over tasks."""

from __future__ import annotations

import lxml.html
import pytest

from pipeline.report.exports.metrics import metrics
from pipeline.report.page.studies import FIGURES, Study, headline, panel, render_studies, table

GAIN = {"gain.mean": 1.0, "gain.low": 0.4, "gain.high": 1.6, "gain.tasks_low": 0.2, "gain.tasks_high": 1.9}


def study(name: str, count: int, **changes: float) -> Study:
    return Study(name, {"clusters.count": count, "clusters.stability": 0.9, **GAIN, **changes})


def test_every_metric_of_a_report_has_a_column_with_its_interval(plan, findings):
    numbers = metrics(plan, findings)
    shown = table([Study("one", numbers)])
    titles = [column.title for column in shown.columns]
    assert len(titles) == len(set(titles)) and "gain" in titles and "gain.low" not in titles
    cell = shown.rows[0].cells[titles.index("gain")]
    assert cell.value == numbers["gain.mean"] and cell.small.startswith("[") and cell.tone == "shown"
    assert {base for base in FIGURES if Study("one", numbers).value(base)} == FIGURES.keys()


def test_a_study_that_measured_less_has_dashes():
    rows = table([study("a", 2), Study("b", {"accuracy.dense": 0.9})]).rows
    assert [cell.text for cell in rows[1].cells].count("\N{EM DASH}") == len(rows[1].cells) - 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        pytest.param({}, "in 1 of 2 studies: four", id="a gain"),
        pytest.param({"gain.tasks_low": -0.1}, "not shown to beat the pooled profile in any of 2", id="not over tasks"),
        pytest.param({"gain.low": -0.1}, "not shown to beat the pooled profile in any of 2", id="not over samples"),
    ],
)
def test_the_headline_claims_what_both_intervals_show(changes, words):
    none = study("two", 2, **{"gain.low": -1.0})
    assert words in headline([none, study("four", 4, **changes)])


def test_figures_are_against_the_number_of_groups_where_there_are_several():
    studies = [study("four", 4), study("two", 2, **{"clusters.stability": 0.5})]
    figure = panel(studies, "clusters.stability")
    assert figure is not None and figure.alt.endswith("2 groups 0.50; 4 groups 0.90.")
    assert panel(studies, "regret") is None
    page = lxml.html.fromstring(render_studies(studies))
    assert len(page.xpath("//figure")) == 2 and not page.xpath("//script[@src]")
    assert not lxml.html.fromstring(render_studies([study("a", 2), study("b", 2)])).xpath("//figure")


def test_names_of_studies_are_shown_as_they_are():
    assert "&lt;b&gt;" in render_studies([study("<b>", 2), study("c", 4)])
