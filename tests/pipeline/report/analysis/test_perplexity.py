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
from pipeline.report.page.style import Figure
from pipeline.report.page.text_rows import left_out_sentences, perplexity_tables
from pipeline.report.text.verdicts import verdicts
from tests.pipeline.report.synthetic import make_counts

EXACT = 1e-9
"""Relative; float64 sums in another order."""


def as_text(evidence: Evidence, tasks: list[str]) -> Evidence:
    """The same evidence with these tasks' samples being text: of 1 to 40 scored tokens, worse the sparser."""
    rng = np.random.default_rng(3)
    samples = evidence.samples.copy()
    is_text = samples["task"].isin(tasks).to_numpy()
    lengths = rng.integers(1, 40, len(samples))
    samples["kind"] = np.where(is_text, "text", samples["kind"])
    samples["answer_ids"] = [[7] * int(n) if text else [3] for n, text in zip(lengths, is_text, strict=True)]
    cost = dict(zip(samples["sample_id"], lengths * rng.uniform(1, 4, len(samples)), strict=True))
    text_ids = set(samples["sample_id"][is_text])
    results = {}
    for name, table in evidence.results.items():
        rows = table["sample_id"].isin(text_ids).to_numpy()
        worse = 1 + table["target"] ** 2 * (1.5 if name == "teal" else 1.0)
        results[name] = table.assign(
            score=np.where(rows, np.nan, table["score"]),
            correct=table["correct"] & ~rows,
            loglikelihood=np.where(rows, -table["sample_id"].map(cost) * worse, table["loglikelihood"]),
        )
    return replace(evidence, samples=samples, results=results)


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


def test_perplexities_are_metrics_and_plot_data(plan: Plan, findings: Findings, mixed_findings: Findings):
    numbers = metrics(plan, mixed_findings)
    assert numbers["perplexity.facts.dense"] < numbers["perplexity.facts.wina.50"]
    assert numbers["log_perplexity_difference.facts.teal.50.low"] > 0
    assert "log_perplexity_difference.facts.greedy.50.mean" not in numbers
    assert not any(np.isnan(value) for value in numbers.values())
    table = plot_tables(plan, mixed_findings)["perplexity"]
    assert len(table) == 2 * (1 + len(plan.sparse) * len(plan.targets))
    assert "perplexity" not in plot_tables(plan, findings)


@pytest.mark.usefixtures("unrendered")
def test_the_page_shows_perplexity_only_where_there_is_text(
    plan: Plan, mixed: Evidence, mixed_findings: Findings, page: tuple[str, list[Figure]]
):
    html, _ = render(plan, mixed, mixed_findings)
    tree = lxml.html.fromstring(html)
    assert len(tree.xpath("//h2[@id='perplexity']")) == 1
    assert "nan" not in tree.text_content().split()
    assert 'id="perplexity"' not in page[0]


@pytest.mark.usefixtures("unrendered")
def test_a_run_of_text_alone_has_no_accuracy_and_says_so(plan: Plan, evidence: Evidence):
    only = as_text(evidence, evidence.samples["task"].unique().tolist())
    findings = find(plan, only)
    html, _ = render(plan, only, findings)
    text = lxml.html.fromstring(html).text_content()
    assert [verdict.tag for verdict in verdicts(plan, findings)][1:] == ["Not asked"] * 3
    assert verdicts(plan, findings)[1].sentences[0] in text and "nan" not in text.split()
    assert not [name for name in metrics(plan, findings) if name.startswith("accuracy.")]
    assert plot_tables(plan, findings)["accuracy"].empty


def test_a_difference_on_one_window_is_not_marked_as_clear(mixed_findings: Findings):
    (facts,) = mixed_findings.test.texts
    (many,), (one,) = perplexity_tables([facts]), perplexity_tables([replace(facts, samples=1)])
    tones = [{row["over_baseline"]["tone"] for row in table["rows"] if row["over_baseline"]} for table in (many, one)]
    assert tones[0] == {"", "down"} and tones[1] == {""}


def test_skipped_and_missing_items_are_counted_by_task_and_split(evidence: Evidence):
    assert left_out_sentences(evidence.sample_counts) == []
    counts = make_counts(evidence.samples[evidence.samples["task"] == "facts"])
    too_long, too_few = left_out_sentences(counts.assign(too_long=[0, 3], wanted=counts["taken"] + [0, 2]))
    (both,) = left_out_sentences(counts.assign(in_both_splits=[0, 4]))
    (contradicting,) = left_out_sentences(counts.assign(contradicting=[2, 0]))
    assert both == "Questions that stand in the train and in the test split: 4 of `facts` (train)."
    assert contradicting == "Questions that are asked elsewhere with another right answer: 2 of `facts` (test)."
    assert "3 of `facts` (train)" in too_long and "8 of 10 for `facts` (train)" in too_few
