"""Figures show the names of tasks and labels as they are, whatever their author put into them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pipeline.report.analysis.labels import Label
from pipeline.report.page import figures
from pipeline.report.page.style import Figure, label

ODD = [
    pytest.param("$x_1^", "$x_1^", id="a dollar sign"),
    pytest.param("costs $5 or $6", "costs $5 or $6", id="two dollar signs"),
    pytest.param("$\\frac{1}{", "$\\frac{1}{", id="a broken formula"),
    pytest.param("_hidden", "_hidden", id="a leading underscore"),
    pytest.param("a\nb\tc", "a b c", id="a line break and a tab"),
    pytest.param("<b>&amp;\"'", "<b>&amp;\"'", id="HTML"),
    pytest.param("]]> %s {0} {{x}}", "]]> %s {0} {{x}}", id="templates"),
    pytest.param("\N{GRINNING FACE} 中文", "\N{GRINNING FACE} 中文", id="an emoji and Chinese"),
    pytest.param("a\x00\x1b[31m\u202e", "a[31m", id="control characters"),
    pytest.param("x" * 500, "x" * 39 + "\N{HORIZONTAL ELLIPSIS}", id="500 characters"),
    pytest.param("\ud800", "", id="half a surrogate pair"),
    pytest.param("", "", id="nothing"),
]


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(("name", "shown"), ODD)
def test_the_name_of_a_label_is_drawn_as_it_is(name: str, shown: str):
    assert label(name) == shown
    odd = Label("task", (name, "plain"), np.arange(12) % 2)
    x, y = np.random.default_rng(0).normal(size=(2, 12))
    for draw in (figures.map_panel, figures.map_facets):
        drawn = draw(x, y, odd, "by task", "map_task")
        assert {shown, "plain"} - {""} <= texts(drawn)


def texts(figure: Figure) -> set[str]:
    root = ElementTree.fromstring(figure.svg)
    ElementTree.fromstring(figure.inline)
    return {"".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")}
