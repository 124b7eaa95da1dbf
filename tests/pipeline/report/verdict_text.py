"""The whole text of a verdict, for tests that do not depend on what the page folds."""

from __future__ import annotations

from pipeline.report.text.verdicts import Verdict


def verdict_text(verdict: Verdict) -> str:
    """All sentences, in front of the fold and behind it."""
    return " ".join((*verdict.sentences, *verdict.grounds))
