"""`dvc plots show` has the report's data, intervals and colours, and a page that loads nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from commands import plots
from pipeline.report.page.svg import LIGHT, SERIES
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = json.loads((ROOT / ".dvc" / "plots" / "by_method.json").read_text())


def test_the_template_draws_the_values_and_intervals_of_the_tables_in_the_report_s_colours():
    assert TEMPLATE["data"] == {"values": "<DVC_METRIC_DATA>"}
    assert TEMPLATE["encoding"]["color"]["scale"]["range"] == [LIGHT[name] for name in SERIES]
    line, rule = TEMPLATE["layer"]
    assert line["encoding"]["y"]["field"] == "<DVC_METRIC_Y>"
    assert (rule["encoding"]["y"]["field"], rule["encoding"]["y2"]["field"]) == ("low", "high")


def test_without_vl_convert_the_command_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UserError, match="make plots"):
        plots.main()


def test_the_page_asks_for_nothing():
    page = plots.PAGE.format(bundle="")
    assert "src=" not in page and "http" not in page and "{plot_divs}" in page
