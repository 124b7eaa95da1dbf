"""The confirmed answers in words, for the head of the page."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.protocol.confirmed import Confirmed, ConfirmedAnswer
from pipeline.protocol.verdict import UNDECIDED
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import MINUS, listed, points_interval, target_name


@dataclass(frozen=True)
class ConfirmedWords:
    """A sentence with the answer to the first question; what was compared, by how much, and the answer, a row for each
    question; and what the intervals hold, of which settings."""

    headline: str
    rows: list[tuple[str, str, str]]
    note: str


def confirmed_words(plan: Plan, confirmed: Confirmed) -> ConfirmedWords:
    """All of it."""
    answers = confirmed.answers
    first = answers[0]
    sizes = listed(list(dict.fromkeys(map(_sizes, answers))))
    presets = f" with preset {listed([*confirmed.presets])}" if confirmed.presets else ""
    return ConfirmedWords(
        f"Do profiles of groups beat the pooled one? {_reason(first).capitalize()}: {_shown(first)}, "
        f"confirmed on {first.samples:,} unseen items.",
        [_row(plan, answer) for answer in answers],
        f"Intervals of {sizes}. Asked once, as the protocol says, of the settings of commit "
        f"{confirmed.commit[:10]}{presets}. Everything below is of development samples.",
    )


def _row(plan: Plan, answer: ConfirmedAnswer) -> tuple[str, str, str]:
    pair = f"{_name(plan, answer.method)} {MINUS} {_name(plan, answer.baseline)} at {target_name(answer.target)}"
    return pair, _shown(answer), _reason(answer)


def _shown(answer: ConfirmedAnswer) -> str:
    unit = "points" if answer.perplexity_percent is None else "% of perplexity gained"
    return f"{points_interval(answer.interval)} {unit}"


def _reason(answer: ConfirmedAnswer) -> str:
    return answer.answer if answer.answer == UNDECIDED else answer.words.partition(":")[0]


def _sizes(answer: ConfirmedAnswer) -> str:
    return f"{answer.units} computations or tasks, their {answer.samples:,} items and {answer.refits} refits"


def _name(plan: Plan, method: str) -> str:
    """The id of a method that only the presets have."""
    known = next((own for own in plan.methods if own.name == method), None)
    return f"`{method}`" if known is None else display_name(plan, known)
