"""Sentences about gradient clusters name the choice, the largest gain, and the gains of other groups, best first."""

from __future__ import annotations

from pipeline.report.analysis.gradient import gradient_findings
from pipeline.report.text.gradient import NAMES, gradient_sentences
from tests.pipeline.report.synthetic import make_evidence, make_plan


def test_the_choice_stands_beside_the_largest_gain_and_other_groups_are_ordered_by_gain():
    plan = make_plan(schemes=("global", "activation", "task", "random", "gradient", "gradient_random"))
    findings = gradient_findings(plan, make_evidence(4, 6, plan=plan))
    assert findings is not None
    choice, others = gradient_sentences(findings)
    for part in ("2 to 5", " 3 ", "(0.198 ± 0.003)", "(0.200 ± 0.004, 5 "):
        assert part in choice
    gains = ["computation 0.250", f"{NAMES['activation']} 0.150", f"{NAMES['gradient_random']} \N{MINUS SIGN}0.010"]
    positions = [others.index(gain) for gain in gains]
    assert positions == sorted(positions)
