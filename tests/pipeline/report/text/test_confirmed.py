"""The confirmed answers in words, and their place on the page and among the metrics."""

from __future__ import annotations

from dataclasses import asdict, replace

import lxml.html
import pytest

from pipeline.protocol.answers import Answer
from pipeline.protocol.confirmed import confirmed
from pipeline.protocol.verdict import verdict
from pipeline.report.exports.metrics import metrics
from pipeline.report.page.page import render
from pipeline.report.text.confirmed import confirmed_words
from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.refits import RefitIntervals

QUESTIONS = {
    "literal": {"method": "clustered_embedding", "baseline": "greedy", "target": 0.5},
    "ours": {"method": "kl_gradient_routed", "baseline": "kl_learned", "target": 0.75},
}
ENDS = {"literal": (0.12, -0.5, 0.72), "ours": (2.0, 1.2, 2.8)}


def answer(ends: tuple[float, float, float]) -> dict[str, object]:
    """As `commands/confirm.py` writes it."""
    interval = Interval(*ends)
    found = verdict(interval, 1.0)
    intervals = RefitIntervals(interval, interval, interval, interval)
    return asdict(Answer(found.answer, found.words, 5376, 10, 3, (ends[0],) * 3, 80.0, 80.0, intervals))


@pytest.fixture(scope="module")
def answers():
    run = {"commit": "b2ebe83" + "0" * 33, "presets": ["confirmation"]}
    return confirmed(QUESTIONS, {name: answer(ends) for name, ends in ENDS.items()}, run)


def test_the_headline_answers_the_first_question(plan, answers):
    assert confirmed_words(plan, answers).headline == (
        "Do profiles of groups beat the pooled one? No, smaller than 1: +0.1 [\N{MINUS SIGN}0.5, 0.7] points, "
        "confirmed on 5,376 unseen items."
    )


def test_a_row_has_the_pair_the_interval_in_points_and_the_reason(plan, answers):
    first, second = confirmed_words(plan, answers).rows
    assert first == (
        "WINA + greedy, routed clusters (clustered_embedding) \N{MINUS SIGN} WINA + greedy at 50%",
        "+0.1 [\N{MINUS SIGN}0.5, 0.7] points",
        "no, smaller than 1",
    )
    assert second == ("`kl_gradient_routed` \N{MINUS SIGN} `kl_learned` at 75%", "+2.0 [1.2, 2.8] points", "yes")


def test_the_note_says_what_the_intervals_hold_and_of_which_settings(plan, answers):
    text = confirmed_words(plan, answers).note
    assert "10 computations or tasks, their 5,376 items and 3 refits" in text
    assert "commit b2ebe83000 with preset confirmation" in text
    assert " with preset" not in confirmed_words(plan, replace(answers, presets=())).note


def test_confirmed_answers_stand_above_development_numbers_and_among_the_metrics(plan, evidence, findings, answers):
    shown = replace(findings, confirmed=answers)
    html, _ = render(plan, evidence, shown)
    head = lxml.html.fromstring(html).xpath("//header")[0]
    texts = [" ".join(node.text_content().split()) for node in head.xpath("h1 | dl[@class='confirmed'] | p")]
    assert texts[1].startswith("Do profiles of groups") and texts[-1].startswith("Development: Routed clusters gain")
    assert "no, smaller than 1" in texts[-3] and "kl_gradient_routed" in texts[-3]
    numbers = metrics(plan, shown)
    for name, (value, low, high) in ENDS.items():
        assert [numbers[f"confirmed.{name}.{end}"] for end in ("mean", "low", "high")] == pytest.approx(
            [value, low, high]
        )
    assert "confirmed" not in " ".join(metrics(plan, findings))


def test_an_answer_about_perplexity_is_in_percent_of_it(plan):
    questions = {"text": QUESTIONS["literal"] | {"perplexity_percent": 1.0}}
    found = confirmed(questions, {"text": answer((-2.0, -3.0, -1.0))}, {"commit": "c" * 40, "presets": []})
    [(_, interval, _)] = confirmed_words(plan, found).rows
    assert interval == "\N{MINUS SIGN}2.0 [\N{MINUS SIGN}3.0, \N{MINUS SIGN}1.0] % of perplexity gained"
