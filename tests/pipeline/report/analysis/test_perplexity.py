"""Perplexity is a token-weighted mean, paired over samples; text never enters an accuracy."""

from __future__ import annotations

from dataclasses import replace

import lxml.html
import numpy as np
import pytest

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.findings import Findings, find
from pipeline.report.analysis.plan import Plan
from pipeline.report.exports.metrics import metrics
from pipeline.report.exports.plots import plot_tables
from pipeline.report.page.page import render
from pipeline.report.page.profile_tables import perplexity_table
from pipeline.report.page.svg import Figure
from pipeline.report.text.cards import cards
from tests.pipeline.report.synthetic import as_text

EXACT = 1e-9
"""Relative; float64 sums in another order."""


@pytest.fixture(scope="module")
def mixed(evidence: Evidence) -> Evidence:
    """One of the tasks is text."""
    return as_text(evidence, ["facts"])


@pytest.fixture(scope="module")
def mixed_findings(plan: Plan, mixed: Evidence) -> Findings:
    return find(plan, mixed)


def test_perplexity_is_the_exponential_of_the_mean_over_tokens(plan: Plan, evidence: Evidence):
    mixed = as_text(evidence, ["facts", "analogy"])
    (analogy, facts) = find(plan, mixed).test.texts
    assert (analogy.task, facts.task) == ("analogy", "facts")
    test = mixed.samples[(mixed.samples["task"] == "facts") & (mixed.samples["split"] == "test")]
    tokens = {row.sample_id: len(row.answer_ids) for row in test.itertuples()}
    assert (facts.samples, facts.tokens) == (len(test), sum(tokens.values()))

    def slow(method: str, target: float) -> float:
        rows = mixed.results[method].set_index(["target", "sample_id"])["loglikelihood"]
        return -sum(rows[target, key] for key in tokens) / sum(tokens.values())

    for point in facts.points:
        own = slow(point.method.name, point.target)
        assert point.perplexity.value == pytest.approx(np.exp(own), rel=EXACT)
        assert point.perplexity.low <= point.perplexity.value <= point.perplexity.high
        if not point.method.is_dense:
            assert point.over_dense is not None
            assert point.over_dense.value == pytest.approx(own - slow("dense", 0.0), rel=EXACT)
        if point.over_baseline is not None:
            assert point.over_baseline.value == pytest.approx(own - slow("greedy", point.target), abs=EXACT)


def test_differences_are_paired(mixed_findings: Findings):
    """wina and the baseline have the same likelihoods here: their difference is zero in every replicate."""
    (facts,) = mixed_findings.test.texts
    for point in facts.points:
        if point.method.name == "wina":
            assert point.over_baseline is not None
            assert (point.over_baseline.value, point.over_baseline.low, point.over_baseline.high) == (0, 0, 0)
        if point.method.name == "teal":
            assert point.over_baseline is not None and point.over_baseline.low > 0


def test_text_samples_are_not_part_of_accuracies(plan: Plan, evidence: Evidence, mixed_findings: Findings):
    left = evidence.samples["task"] != "facts"
    kept = set(evidence.samples["sample_id"][left])
    without = replace(
        evidence,
        samples=evidence.samples[left],
        results={name: rows[rows["sample_id"].isin(kept)] for name, rows in evidence.results.items()},
    )
    found, expected = mixed_findings.test, find(plan, without).test
    assert found.points == expected.points and found.gains == expected.gains
    assert found.differences == expected.differences and found.tasks == expected.tasks
    assert found.regrets == expected.regrets
    assert found.samples > expected.samples and not expected.texts


def test_the_page_shows_perplexity_only_where_there_is_text(
    plan: Plan, mixed: Evidence, mixed_findings: Findings, page: tuple[str, list[Figure]]
):
    html, _ = render(plan, mixed, mixed_findings)
    tree = lxml.html.fromstring(html)
    assert len(tree.xpath("//caption[starts-with(., 'facts: perplexity')]")) == 1
    assert "nan" not in tree.text_content().split()
    assert ": perplexity" not in page[0]


def test_a_run_of_text_alone_has_no_accuracy_and_says_so(plan: Plan, evidence: Evidence):
    only = as_text(evidence, evidence.samples["task"].unique().tolist())
    findings = find(plan, only)
    html, _ = render(plan, only, findings)
    text = lxml.html.fromstring(html).text_content()
    answers = {card.key: card for card in cards(plan, findings)}
    assert [answers[key].answer for key in ("RQ2", "RQ3", "RQ4")] == ["Not asked"] * 3
    assert answers["RQ2"].sentences[0] in text and "nan" not in text.split()
    assert not [name for name in metrics(plan, findings) if name.startswith("accuracy.")]
    assert plot_tables(findings)["accuracy"].empty


def test_a_difference_on_one_window_is_not_marked_as_clear(plan: Plan, mixed_findings: Findings):
    (facts,) = mixed_findings.test.texts
    many, one = perplexity_table(plan, facts), perplexity_table(plan, replace(facts, samples=1))
    tones = [{cell.tone for row in table.rows for cell in row.cells} for table in (many, one)]
    assert tones == [{"", "down"}, {""}]
