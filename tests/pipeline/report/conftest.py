"""One small made-up experiment for all tests of the report."""

from __future__ import annotations

import pytest

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Plan
from pipeline.report.page import style
from tests.pipeline.report.synthetic import make_evidence, make_plan


@pytest.fixture(scope="session")
def plan() -> Plan:
    return make_plan()


@pytest.fixture(scope="session")
def evidence(plan: Plan) -> Evidence:
    return make_evidence(train=8, test=48, gain=0.2, plan=plan)


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build every figure, but do not turn it into SVG: most of the time, and tested where the SVG is looked at."""
    monkeypatch.setattr(style, "to_svg", lambda drawn, name, alt: style.Figure(name, "<svg/>", "", alt))
