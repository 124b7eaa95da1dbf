"""What a verdict says, for tests that do not care in which part it says it."""

from __future__ import annotations

from pipeline.report.text.verdicts import Verdict


def told(verdict: Verdict) -> str:
    """All sentences, in front of the fold and behind it."""
    return " ".join((*verdict.sentences, *verdict.grounds))
