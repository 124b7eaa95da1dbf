"""The report is written whole, and equal tables give equal bytes."""

from __future__ import annotations

import json

import pytest

from pipeline.report.exports.metrics import DECIMALS, metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.exports.write import write_report


@pytest.fixture(scope="module")
def written(plan, evidence, tmp_path_factory):
    """Made from the tables once more, beside the findings and the page that all tests share."""
    folder = tmp_path_factory.mktemp("written")
    write_report(plan, evidence, report=folder / "report", metrics=folder / "metrics.json", plots=folder / "plots")
    return folder


def test_equal_tables_give_an_equal_page_with_equal_figures_and_tables(written, page):
    html, files = page
    paths = [path for path in (written / "report").rglob("*") if path.is_file()]
    found = {path.relative_to(written / "report").as_posix(): path.read_text(encoding="utf-8") for path in paths}
    assert found == {"report.html": html, **files}


def test_equal_tables_give_equal_metrics_in_the_same_order(written, plan, findings):
    assert list(json.loads((written / "metrics.json").read_text()).items()) == list(metrics(plan, findings).items())


def test_equal_tables_give_equal_plot_files(written, findings):
    tables = plot_tables(findings)
    assert {path.stem for path in (written / "plots").iterdir()} == set(tables)
    for name, rows in tables.items():
        text = rows.round(DECIMALS).to_csv(index=False, lineterminator="\n")
        assert (written / "plots" / f"{name}.csv").read_text() == text
