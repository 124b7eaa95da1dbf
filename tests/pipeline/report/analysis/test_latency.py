"""Timings are compared through their speed-ups, and their frontier holds what no deployable point beats."""

from __future__ import annotations

from dataclasses import replace

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.latency import undominated
from pipeline.report.page.page import render
from pipeline.storage.schemas import TIMINGS
from tests.pipeline.report.timings import FACTS, timed

POINT = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (float(pair[0]), float(pair[1])))


@given(st.lists(POINT, min_size=1, max_size=30))
def test_the_frontier_is_every_point_that_none_beats(points: list[tuple[float, float]]):
    def beaten(point: tuple[float, float]) -> bool:
        others = [other for other in points if other != point]
        return any(other[0] <= point[0] and other[1] >= point[1] for other in others)

    assert undominated(points) == sorted({point for point in points if not beaten(point)})


@pytest.fixture(scope="module")
def fast(plan, evidence):
    return find(plan, timed(plan, evidence))


def test_made_up_timings_fit_the_schema(plan, evidence, tmp_path):
    TIMINGS.write(timed(plan, evidence).timings, tmp_path / "timings.parquet")


def test_every_timing_is_in_its_cell_with_its_accuracy(plan, fast):
    first, second = fast.latency.cells
    assert (first.batch, first.context, second.batch, second.context) == (1, 128, 4, 1024)
    assert len(first.timings) == len(plan.sparse) * len(plan.targets)
    for timing in first.timings:
        assert timing.point is not None
        assert (timing.point.method, timing.point.target) == (timing.method, timing.target)
        assert timing.ms.value == pytest.approx(11.0 / timing.speedup.value)
        assert timing.ms.low < timing.ms.value < timing.ms.high


def test_a_busy_machine_slows_both_models_and_does_not_change_a_latency(plan, evidence, fast):
    rows = timed(plan, evidence).timings
    is_busy = rows["method"] == "wina"
    times = [name for name in rows.columns if name.endswith(("_ms", "_ms_low", "_ms_high", "ms_per_token"))]
    rows.loc[is_busy, times] *= 2
    busy = find(plan, replace(timed(plan, evidence), timings=rows)).latency.cells[0]
    assert busy.dense_ms.high == pytest.approx(22.0) and busy.dense_ms.value == pytest.approx(11.0)
    assert [timing.ms for timing in busy.timings] == [timing.ms for timing in fast.latency.cells[0].timings]


def test_the_frontier_has_only_what_can_be_deployed_and_ends_at_dense_or_better(plan, fast):
    cell = fast.latency.cells[0]
    deployable = {(row.ms.value, row.point.accuracy.value) for row in cell.timings if row.is_deployable}
    dense = (cell.dense_ms.value, cell.dense.accuracy.value)
    assert set(cell.frontier) <= {*deployable, dense}
    assert cell.frontier[-1][1] >= dense[1]


def test_timings_of_methods_that_left_the_report_are_no_timings(plan, evidence):
    rows = timed(plan, evidence).timings
    gone = replace(timed(plan, evidence), timings=rows[rows["method"] == "wina"].assign(method="gone"))
    timings = find(plan, gone).latency
    assert timings.cells == [] and "no method of this report" in str(timings.reason)


def test_the_page_shows_a_figure_and_a_table_for_every_batch_and_context(plan, evidence, fast):
    html, files = render(plan, timed(plan, evidence), fast)
    drawn = {name for name in files if name.startswith("figures/latency")}
    assert drawn == {"figures/latency_1_128.svg", "figures/latency_4_1024.svg"}
    tree = lxml.html.fromstring(html)
    captions = [caption.text_content() for caption in tree.xpath("//caption") if "dense (" in caption.text_content()]
    assert ["batch 1, context 128" in captions[0], "batch 4, context 1,024" in captions[1]] == [True, True]
    assert "compiled did not work (no compiler)" in html and "ranks the features of every token" in html
    assert FACTS["machine"]["device"] in html
