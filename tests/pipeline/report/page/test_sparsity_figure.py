"""The panels of realised sparsity, for few and for many blocks."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from pipeline.report.analysis.block_sparsity import BlockSparsity
from pipeline.report.page.figures import looks
from pipeline.report.page.sparsity_figure import sparsity

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("blocks", [1, 5, 32])
def test_every_method_has_a_line_in_every_panel_and_markers_where_there_is_room(plan, blocks):
    featured = [plan.dense, *plan.sparse[:3]]
    values = np.linspace(0.2, 0.8, blocks)
    rows = [BlockSparsity(method, target, values) for method in plan.sparse for target in plan.targets]
    figure = sparsity(plan, rows, featured, looks(plan, featured))
    for drawing in (figure.wide, figure.narrow):
        tree = ElementTree.fromstring(drawing)
        panels = [node for node in tree.iter(f"{SVG}g") if "data-at" in node.attrib]
        assert [panel.get("data-at") for panel in panels] == ["25", "40", "50", "65"]
        for panel in panels:
            lines = [node for node in panel.iter(f"{SVG}g") if "data-method" in node.attrib]
            assert [line.get("data-method") for line in lines] == [method.name for method in plan.sparse]
            assert [line.get("class") for line in lines] == [None] * 3 + ["hidden"] * (len(plan.sparse) - 3)
            assert {len(line) - 1 for line in lines} == {blocks if blocks <= 12 else 0}
    assert figure.alt.endswith("TEAL varies most, at 25%: 20% to 80%" if blocks > 1 else "at 25%: 20%")
