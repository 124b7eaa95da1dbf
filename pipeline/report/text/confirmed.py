"""The confirmed answers in words, for the head of the page."""

from __future__ import annotations

from pipeline.protocol.verdict import UNDECIDED
from pipeline.report.analysis.confirmed import Confirmed, ConfirmedAnswer
from pipeline.report.analysis.plan import Plan
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import MINUS, listed, points_interval, target_name


def confirmed_headline(plan: Plan, confirmed: Confirmed) -> str:
    """One sentence that answers every question with yes, no or undecided."""
    items = max(answer.samples for answer in confirmed.answers)
    answers = listed([f"{answer.answer} for {_name(plan, answer.baseline)}" for answer in confirmed.answers])
    return f"Do profiles of groups beat the pooled one? Confirmed on {items:,} unseen items: {answers}."


def confirmed_rows(plan: Plan, confirmed: Confirmed) -> list[tuple[str, str, str]]:
    """What was compared, by how much, and the answer, a row for each question."""
    return [
        (
            f"{_name(plan, answer.method)} {MINUS} {_name(plan, answer.baseline)} at {target_name(answer.target)}",
            f"{points_interval(answer.interval)} points",
            answer.answer if answer.answer == UNDECIDED else answer.words.partition(":")[0],
        )
        for answer in confirmed.answers
    ]


def provenance(confirmed: Confirmed) -> str:
    """What the intervals hold, and of which settings the questions were asked."""
    sizes = listed(list(dict.fromkeys(map(_sizes, confirmed.answers))))
    presets = f" with preset {listed([*confirmed.presets])}" if confirmed.presets else ""
    return (
        f"Intervals of {sizes}. Asked once, as protocol.yaml says, of the settings of commit "
        f"{confirmed.commit[:10]}{presets}. Everything below is of development samples."
    )


def _sizes(answer: ConfirmedAnswer) -> str:
    return f"{answer.units} computations or tasks, their {answer.samples:,} items and {answer.refits} refits"


def _name(plan: Plan, method: str) -> str:
    """The id of a method that only the presets have."""
    known = next((own for own in plan.methods if own.name == method), None)
    return f"`{method}`" if known is None else display_name(plan, known)
