"""Sentences about the gap recovered name only methods that recover a part of it, and are grounds of RQ2."""

from __future__ import annotations

from pipeline.report.analysis.findings import find
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.text.recovery import recovery_sentences
from pipeline.report.text.verdicts import verdicts
from pipeline.statistics.bootstrap import Interval
from tests.pipeline.report.synthetic import make_evidence, with_kl


def test_only_methods_that_recover_a_part_of_the_gap_are_named_with_interval_target_and_samples():
    plan = with_kl()
    half, loss = Interval(0.5, 0.4, 0.6), Interval(-0.1, -0.2, 0.0)
    savings, baseline = (None, None, 0.4, 0.5), plan.method("greedy")
    rows = [
        Recovery(plan.method("kl"), baseline, savings, (None, None, half, None)),
        Recovery(plan.method("wina"), baseline, savings, (None, None, loss, loss)),
    ]
    (sentence,) = recovery_sentences(plan, rows, 1234)
    assert "`kl`" in sentence and "`greedy`" in sentence and "1,234" in sentence
    assert sentence.endswith(": 50.0% [40.0, 60.0] at 50%.")


def test_the_grounds_of_rq2_hold_the_gap_recovered():
    plan = with_kl(splits=("test",))
    findings = find(plan, make_evidence(2, 12, plan=plan))
    sentences = recovery_sentences(plan, findings.test.recoveries, findings.test.samples)
    assert sentences and set(sentences) <= set(verdicts(plan, findings)[1].grounds)
