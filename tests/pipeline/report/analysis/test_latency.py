"""Timings in the report: placed by their speed-up, on a frontier, judged by the rules, or the reason in a sentence."""

from __future__ import annotations

import re
from dataclasses import replace

import lxml.html
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.latency import undominated
from pipeline.report.exports.metrics import metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.page.page import render
from pipeline.report.text.latency import latency_answer
from pipeline.report.text.verdicts import verdicts
from pipeline.storage.schemas import TIMINGS
from tests.pipeline.report.timings import FACTS, timed

POINT = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: (float(pair[0]), float(pair[1])))


@given(st.lists(POINT, min_size=1, max_size=30))
def test_the_frontier_is_every_point_that_none_beats(points: list[tuple[float, float]]):
    def beaten(one: tuple[float, float]) -> bool:
        others = [other for other in points if other != one]
        return any(other[0] <= one[0] and other[1] >= one[1] for other in others)

    assert undominated(points) == sorted({one for one in points if not beaten(one)})


@pytest.fixture(scope="module")
def fast(plan, evidence):
    return find(plan, timed(plan, evidence))


def test_made_up_timings_fit_the_schema(plan, evidence, tmp_path):
    TIMINGS.write(timed(plan, evidence).timings, tmp_path / "timings.parquet")


def test_every_timing_stands_in_its_cell_with_its_accuracy(plan, fast):
    first, second = fast.latency.cells
    assert (first.batch, first.context, second.batch, second.context) == (1, 128, 4, 1024)
    assert len(first.timings) == len(plan.sparse) * len(plan.targets)
    for one in first.timings:
        assert one.point is not None and one.point.method == one.method and one.point.target == one.target
        assert one.ms.value == pytest.approx(11.0 / one.speedup.value)
        assert one.ms.low < one.ms.value < one.ms.high


def test_a_busy_machine_moves_both_sides_and_not_the_place_of_a_point(plan, evidence, fast):
    rows = timed(plan, evidence).timings
    is_busy = rows["method"] == "wina"
    times = [name for name in rows.columns if name.endswith(("_ms", "_ms_low", "_ms_high", "ms_per_token"))]
    rows.loc[is_busy, times] *= 2
    busy = find(plan, replace(timed(plan, evidence), timings=rows)).latency.cells[0]
    assert busy.dense_ms.high == pytest.approx(22.0) and busy.dense_ms.value == pytest.approx(11.0)
    assert [one.ms for one in busy.timings] == [one.ms for one in fast.latency.cells[0].timings]


def test_the_frontier_has_only_what_can_be_deployed_and_ends_at_dense_or_better(plan, fast):
    cell = fast.latency.cells[0]
    deployable = {(one.ms.value, one.point.accuracy.value) for one in cell.timings if one.is_deployable}
    dense = (cell.dense_ms.value, cell.dense.accuracy.value)
    assert set(cell.frontier) <= {*deployable, dense}
    assert cell.frontier[-1][1] >= dense[1]


def test_a_fast_and_safe_point_is_a_yes_with_its_speed_and_loss(plan, evidence, fast):
    tag, tone, sentences = latency_answer(fast)
    assert tone == "yes" and re.fullmatch(r"Yes: \d\.\d\d times as fast", tag)
    assert re.search(r"takes .* ms a token where dense \(compiled\) takes 11, \d\.\d\d \[", sentences[0])
    assert "The same point elsewhere: " in sentences[1] and "times as fast at batch 4, context 1,024." in sentences[1]
    [rq4] = [one for one in verdicts(plan, fast) if one.key == "RQ4"]
    assert rq4.tag == tag and rq4.sentences[0] == sentences[0]


def test_a_busy_machine_is_said_in_the_verdict_and_a_quiet_one_is_not(plan, evidence, fast):
    rows = timed(plan, evidence).timings.assign(load=7.25)
    busy = find(plan, replace(timed(plan, evidence), timings=rows))
    assert latency_answer(busy)[2][-1].startswith("The machine was busy (load up to 7.2 on 2 cores)")
    assert not any("busy" in sentence for sentence in latency_answer(fast)[2])


def test_speed_without_a_safe_point_is_no_yes(plan, evidence):
    sparsest = ("wina", 0.65)
    found = find(plan, timed(plan, evidence, lambda method, at: 2.0 if (method.name, at) == sparsest else 0.9))
    tag, tone, sentences = latency_answer(found)
    [one] = [one for one in found.latency.cells[0].timings if (one.method.name, one.target) == sparsest]
    assert one.point is not None and one.point.loss.high > 0.02
    assert (tag, tone) == ("Faster, but at a loss", "mixed")
    assert "No point that is faster is shown to lose under 2 points" in sentences[0]


def test_nothing_faster_is_a_no_and_a_quartile_below_one_is_not_faster(plan, evidence):
    slow = find(plan, timed(plan, evidence, lambda _method, _target: 1.04))  # the lower quartile is 0.99
    assert latency_answer(slow)[:2] == ("No: not faster than dense", "no")


def test_controls_and_true_groups_do_not_answer(plan, evidence):
    slow = {"clustered_oracle": 3.0, "random": 3.0, "task": 3.0}
    found = find(plan, timed(plan, evidence, lambda method, _target: slow.get(method.name, 0.8)))
    assert latency_answer(found)[:2] == ("No: not faster than dense", "no")


def test_without_timings_the_reason_stands_in_the_verdict_and_on_the_page_and_no_figure(findings, page):
    tag, tone, [sentence] = latency_answer(findings)
    assert (tag, tone) == ("Counted, not timed", "open")
    assert sentence.startswith("Nothing was timed: the weights fit in the cache.")
    html, figures = page
    assert "Nothing was timed: the weights fit in the cache." in html
    assert not [figure for figure in figures if figure.name.startswith("latency")]
    assert not lxml.html.fromstring(html).xpath(
        "//h3[@id='latency']/following-sibling::div[1]//caption[contains(., 'Batch')]"
    )


def test_timings_of_methods_that_left_the_report_are_no_timings(plan, evidence):
    rows = timed(plan, evidence).timings
    gone = replace(timed(plan, evidence), timings=rows[rows["method"] == "wina"].assign(method="gone"))
    found = find(plan, gone).latency
    assert found.cells == [] and "no method of this report" in str(found.reason)


@pytest.mark.usefixtures("unrendered")
def test_the_page_shows_a_figure_and_a_table_for_every_batch_and_context(plan, evidence, fast):
    html, figures = render(plan, timed(plan, evidence), fast)
    assert {figure.name for figure in figures if figure.name.startswith("latency")} == {
        "latency_1_128",
        "latency_4_1024",
    }
    tree = lxml.html.fromstring(html)
    captions = [caption.text_content() for caption in tree.xpath("//caption") if "dense (" in caption.text_content()]
    assert [caption.split(";")[0] for caption in captions] == ["Batch 1, context 128", "Batch 4, context 1,024"]
    assert "compiled did not work (no compiler)" in html and "ranks the features of every token" in html
    assert FACTS["machine"]["device"] in html
    assert render(plan, timed(plan, evidence), fast)[0] == html


def test_other_tools_get_every_timing_and_the_speed_ups_of_the_first_batch_and_context(plan, findings, fast):
    table = plot_tables(plan, fast)["latency"]
    assert len(table) == 2 * len(plan.sparse) * len(plan.targets)
    assert (table["ms_per_token"] * table["speedup"]).to_numpy() == pytest.approx(table["dense_ms"].to_numpy())
    assert metrics(plan, fast)["speedup.wina.50"] == pytest.approx(1 / (1 - 0.8 * 0.5), abs=1e-6)
    assert "latency" not in plot_tables(plan, findings)
    assert not [name for name in metrics(plan, findings) if "speedup" in name]
