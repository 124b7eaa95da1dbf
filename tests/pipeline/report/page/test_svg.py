"""Elements of figures: names of others drawn as they are, labels that do not cover each other, round ticks."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.page.svg import Scale, label, spread, svg, text

ODD = [
    pytest.param("$x_1^", "$x_1^", id="a dollar sign"),
    pytest.param("_hidden", "_hidden", id="a leading underscore"),
    pytest.param("a\nb\tc", "a b c", id="a line break and a tab"),
    pytest.param("<b>&amp;\"'", "<b>&amp;\"'", id="HTML"),
    pytest.param("]]> %s {0} {{x}}", "]]> %s {0} {{x}}", id="templates"),
    pytest.param("\N{GRINNING FACE} 中文", "\N{GRINNING FACE} 中文", id="an emoji and Chinese"),
    pytest.param("a\x00\x1b[31m\u202e", "a[31m", id="control characters"),
    pytest.param("x" * 500, "x" * 59 + "\N{HORIZONTAL ELLIPSIS}", id="500 characters"),
    pytest.param("\ud800", "", id="half a surrogate pair"),
    pytest.param("", "", id="nothing"),
]


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize(("name", "shown"), ODD)
def test_the_name_of_a_label_is_drawn_as_it_is(name: str, shown: str):
    assert label(name) == shown
    root = ElementTree.fromstring(svg(10, 10, text(0, 0, name), name))
    assert "".join(root.itertext()) == shown


@given(st.lists(st.floats(0, 500), min_size=1, max_size=12).map(sorted), st.floats(1, 30))
def test_spread_labels_keep_their_order_and_distance_and_those_far_apart_stay(heights: list[float], gap: float):
    moved = spread(heights, gap)
    assert all(b - a >= gap - 1e-6 for a, b in pairwise(moved))
    if all(b - a >= gap for a, b in pairwise(heights)):
        assert moved == pytest.approx(heights)
    assert sum(moved) == pytest.approx(sum(heights), abs=1e-3)  # as little as possible, and to both sides


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.booleans())
def test_ticks_are_a_few_round_numbers_within_the_data(low: float, extent: float, is_reversed: bool):
    ends = (low, low + extent)
    scale = Scale(*(reversed(ends) if is_reversed else ends), 0, 100)
    ticks = scale.ticks(6)
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-6 * extent <= tick <= low + extent * (1 + 1e-6) for tick in ticks)
