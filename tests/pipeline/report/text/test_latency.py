"""The timings' answer to RQ4: a yes needs a lower quartile above 1, a safe accuracy and a deployable method."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.report.analysis.findings import find
from pipeline.report.text.cards import cards
from pipeline.report.text.latency import latency_answer, machine_sentences
from tests.pipeline.report.timings import timed


@pytest.fixture(scope="module")
def fast(plan, evidence):
    return find(plan, timed(plan, evidence))


def test_a_fast_and_safe_point_is_a_yes_with_its_speed(plan, fast):
    answer, tone, sentence, folded = latency_answer(plan, fast)
    assert tone == "yes" and re.fullmatch(r"Yes: \d\.\d\d times as fast", answer)
    assert re.search(r"\d\.\d\d \[.*\(compiled, 11 ms a token\) at batch 1, context 128\.", sentence)
    assert re.search(r"\d\.\d\d \[.*\] at batch 4, context 1,024\.", " ".join(folded))
    card = next(card for card in cards(plan, fast) if card.key == "RQ4")
    assert card.answer == answer and sentence in card.sentences


def test_a_busy_machine_is_mentioned_and_a_quiet_one_is_not(plan, evidence, fast):
    rows = timed(plan, evidence).timings.assign(load=7.25)
    busy = find(plan, replace(timed(plan, evidence), timings=rows))
    assert latency_answer(plan, busy)[3][-1].count("load up to 7.2 on 2 cores") == 1
    assert not any("load" in sentence for sentence in latency_answer(plan, fast)[3])


def test_speed_without_a_safe_point_is_no_yes(plan, evidence):
    sparsest = ("wina", 0.65)
    findings = find(plan, timed(plan, evidence, lambda method, at: 2.0 if (method.name, at) == sparsest else 0.9))
    (timing,) = (row for row in findings.latency.cells[0].timings if (row.method.name, row.target) == sparsest)
    assert timing.point is not None and timing.point.loss.high > 0.02
    answer, tone, sentence, _ = latency_answer(plan, findings)
    assert (answer, tone) == ("Faster, but at a loss", "open") and sentence.startswith("WINA at 65% ")


def test_nothing_faster_is_a_no_and_a_quartile_below_one_is_not_faster(plan, evidence):
    slow = find(plan, timed(plan, evidence, lambda _method, _target: 1.04))  # the lower quartile is 0.99
    assert latency_answer(plan, slow)[:2] == ("No: not faster than dense", "no")


def test_controls_and_oracle_groups_do_not_answer(plan, evidence):
    fast = {"clustered_oracle": 3.0, "random": 3.0, "task": 3.0}
    findings = find(plan, timed(plan, evidence, lambda method, _target: fast.get(method.name, 0.8)))
    assert latency_answer(plan, findings)[:2] == ("No: not faster than dense", "no")


def test_without_timings_the_reason_stands_on_the_page_and_there_is_no_figure(plan, findings, page):
    answer, tone, _, (reason,) = latency_answer(plan, findings)
    assert (answer, tone) == ("Counted, not timed", "open") and "the weights fit in the cache" in reason
    html, files = page
    assert html.count("the weights fit in the cache") >= 2
    assert not [name for name in files if "latency" in name]


def test_the_machine_and_every_dense_baseline_are_described(fast):
    text = " ".join(machine_sentences(fast.latency))
    for part in ("A processor", "2 cores", "torch 2.13", "32 tokens", "128 tokens", "eager 10.5", "no compiler"):
        assert part in text
    assert "triton" not in text
