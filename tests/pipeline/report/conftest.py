"""One small made-up experiment for all tests of the report; its numbers and its page are made once."""

from __future__ import annotations

import pytest

from pipeline.report.analysis.evidence import Evidence, Outcome, outcomes
from pipeline.report.analysis.findings import Findings, find
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.resampling import Resampler, resampler
from pipeline.report.page.page import render
from tests.pipeline.report.synthetic import make_evidence, make_plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    return make_plan()


@pytest.fixture(scope="session")
def evidence(plan: Plan) -> Evidence:
    return make_evidence(train=8, test=48, gain=0.2, plan=plan)


@pytest.fixture(scope="session")
def results(plan: Plan, evidence: Evidence) -> dict[str, Outcome]:
    return outcomes(plan, evidence, "test")


@pytest.fixture(scope="session")
def draws(plan: Plan, results: dict[str, Outcome]) -> Resampler:
    return resampler(plan, results["dense"].score.shape[1])


@pytest.fixture(scope="session")
def findings(plan: Plan, evidence: Evidence) -> Findings:
    return find(plan, evidence)


@pytest.fixture(scope="session")
def page(plan: Plan, evidence: Evidence, findings: Findings) -> tuple[str, dict[str, str]]:
    """The page, and its figures and tables as files."""
    return render(plan, evidence, findings)
