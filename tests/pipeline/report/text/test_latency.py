"""The timings' answer to RQ4: a yes needs a lower quartile above 1, a safe accuracy and a deployable method."""

from __future__ import annotations

import re
from dataclasses import replace

import lxml.html
import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.page.page import render
from pipeline.report.text.latency import latency_answer, machine_sentences
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.timings import timed


@pytest.fixture(scope="module")
def fast(plan, evidence):
    return find(plan, timed(plan, evidence))


def test_a_fast_and_safe_point_is_a_yes_with_its_speed_and_loss(plan, evidence, fast):
    tag, tone, sentences = latency_answer(fast)
    assert tone == "yes" and re.fullmatch(r"Yes: \d\.\d\d times as fast", tag)
    assert re.search(r"\(compiled\) 11: .* \d\.\d\d \[.*batch 1, context 128.* loss of .*\]", sentences[0])
    assert re.search(r"\d\.\d\d \[.*\] at batch 4, context 1,024\.", sentences[1])
    rq4 = verdicts(plan, fast)[3]
    assert rq4.tag == tag and rq4.sentences[0] == sentences[0]


def test_a_busy_machine_is_mentioned_and_a_quiet_one_is_not(plan, evidence, fast):
    rows = timed(plan, evidence).timings.assign(load=7.25)
    busy = find(plan, replace(timed(plan, evidence), timings=rows))
    assert latency_answer(busy)[2][-1].count("load up to 7.2 on 2 cores") == 1
    assert not any("load" in sentence for sentence in latency_answer(fast)[2])


def test_speed_without_a_safe_point_is_no_yes(plan, evidence):
    sparsest = ("wina", 0.65)
    findings = find(plan, timed(plan, evidence, lambda method, at: 2.0 if (method.name, at) == sparsest else 0.9))
    tag, tone, sentences = latency_answer(findings)
    (timing,) = (row for row in findings.latency.cells[0].timings if (row.method.name, row.target) == sparsest)
    assert timing.point is not None and timing.point.loss.high > 0.02
    assert (tag, tone) == ("Faster, but at a loss", "mixed")
    assert "under 2 points" in sentences[0] and "`wina` at target 65%" in sentences[1]


def test_nothing_faster_is_a_no_and_a_quartile_below_one_is_not_faster(plan, evidence):
    slow = find(plan, timed(plan, evidence, lambda _method, _target: 1.04))  # the lower quartile is 0.99
    assert latency_answer(slow)[:2] == ("No: not faster than dense", "no")


def test_controls_and_oracle_groups_do_not_answer(plan, evidence):
    fast = {"clustered_oracle": 3.0, "random": 3.0, "task": 3.0}
    findings = find(plan, timed(plan, evidence, lambda method, _target: fast.get(method.name, 0.8)))
    assert latency_answer(findings)[:2] == ("No: not faster than dense", "no")


@pytest.mark.usefixtures("unrendered")
def test_without_timings_the_reason_stands_in_the_verdict_and_on_the_page_and_no_figure(plan, evidence):
    findings = find(plan, evidence)
    tag, tone, [sentence] = latency_answer(findings)
    assert (tag, tone) == ("Counted, not timed", "open")
    assert "the weights fit in the cache" in sentence
    html, figures = render(plan, evidence, findings)
    assert html.count("the weights fit in the cache") >= 2
    assert not [figure for figure in figures if figure.name.startswith("latency")]
    assert not lxml.html.fromstring(html).xpath(
        "//h3[@id='latency']/following-sibling::div[1]//caption[contains(., 'Batch')]"
    )


def test_the_machine_and_every_dense_baseline_are_described(fast):
    text = " ".join(machine_sentences(fast.latency))
    for part in ("A processor", "2 cores", "torch 2.13", "32 tokens", "128 tokens", "eager 10.5", "no compiler"):
        assert part in text
    assert "triton" not in text
