"""Sentences about benefit routers (RQ3)."""

from __future__ import annotations

from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.findings import Findings
from pipeline.report.text.wording import number_interval, percent, percent_interval, points_interval

DECIMALS = 3


def benefit_router_sentences(findings: Findings) -> list[str]:
    """For every benefit router: how often it abstains, its cost, the benefit of its choices and their regrets."""
    return [_sentences(findings, row) for row in findings.benefit_routers]


def _sentences(findings: Findings, row: BenefitRouterRow) -> str:
    chosen, own, constant = (number_interval(benefit, DECIMALS) for benefit in (row.benefit, row.own, row.constant))
    is_gain, is_loss = row.benefit.low > 0, row.benefit.high < 0
    verb = "gain over" if is_gain else "lose against" if is_loss else "are not shown to differ from"
    sentences = [
        f"The benefit router `{row.router}` keeps the pooled profile for {percent_interval(row.abstained)} of the test "
        f"prompts and costs {percent(row.fraction, 3)} of the dense FLOPs.",
        f"Its choices {verb} the pooled profile: mean log ratio of divergences {chosen} (every prompt's own group: "
        f"{own}; without routing, the group that is best on train samples or the pooled profile: {constant}).",
    ]
    for regret in findings.test.regrets:
        if regret.method.groups == row.router:
            difference = points_interval(regret.mean)
            sentences.append(
                f"`{regret.method.name}` has a regret of {difference} points against `{regret.oracle.name}`."
            )
    return " ".join(sentences)
