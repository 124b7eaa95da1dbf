"""What benefit routers are worth, in a sentence each."""

from __future__ import annotations

from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.findings import Findings
from pipeline.report.text.wording import number_interval, percent, percent_interval, points_interval

DECIMALS = 3


def benefit_router_sentences(findings: Findings) -> list[str]:
    """One sentence or two about every benefit router."""
    return [_sentence(findings, row) for row in findings.benefit_routers]


def _sentence(findings: Findings, row: BenefitRouterRow) -> str:
    gain = "gain" if row.brings.low > 0 else "lose" if row.brings.high < 0 else "are not shown to gain or lose"
    words = (
        f"`{row.gate}` leaves {percent_interval(row.abstained)} of the test prompts to the pooled profile, for "
        f"{percent(row.fraction, 3)} of the dense FLOPs; its choices {gain} against always pooled: mean log ratio of "
        f"divergences {number_interval(row.brings, DECIMALS)}, with every prompt's own group "
        f"{number_interval(row.own, DECIMALS)}, without routing {number_interval(row.constant, DECIMALS)}."
    )
    regrets = [one for one in findings.test.regrets if one.method.groups == row.gate]
    return words + "".join(
        f" `{one.method.name}` has a regret of {points_interval(one.mean)} points against `{one.oracle.name}`."
        for one in regrets
    )
