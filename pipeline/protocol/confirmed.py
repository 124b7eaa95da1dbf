"""The answers of the confirmation split, as `commands/confirm.py` has written them.

They are no results of the run that is reported, whose samples are of another split: they come with the commit and the
presets of the settings that were confirmed, and stand above everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class ConfirmedAnswer:
    """One question of a study's protocol.

    Attributes:
        question: its name.
        method, baseline: ids of the methods that were compared.
        target: where.
        answer: `yes`, `no` or `undecided`.
        words: the answer with its reason and interval.
        interval: of method minus baseline over units, items and refits: a fraction of samples, or of perplexity.
        samples, units, refits: how many there are.
        perplexity_percent: not None where the question is about perplexity.
    """

    question: str
    method: str
    baseline: str
    target: float
    answer: str
    words: str
    interval: Interval
    samples: int
    units: int
    refits: int
    perplexity_percent: float | None = None


@dataclass(frozen=True)
class Confirmed:
    """All questions of a protocol, and the commit and presets of the settings under which they were asked."""

    commit: str
    presets: tuple[str, ...]
    answers: tuple[ConfirmedAnswer, ...]


def confirmed(
    questions: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Any], run: Mapping[str, Any]
) -> Confirmed:
    """The answers in the order of the questions.

    Args:
        questions: name -> `method`, `baseline`, `target`.
        answers: answers.json of `commands/confirm.py`.
        run: their entry in its record.json.

    Raises:
        KeyError, TypeError: a question without an answer, or an answer without what it must have.
    """
    return Confirmed(
        commit=str(run["commit"]),
        presets=tuple(run["presets"]),
        answers=tuple(
            ConfirmedAnswer(
                question=name,
                **question,
                **{key: answers[name][key] for key in ("answer", "words", "samples", "units", "refits")},
                interval=Interval(*(answers[name]["intervals"]["all"][end] / 100 for end in ("value", "low", "high"))),
            )
            for name, question in questions.items()
        ),
    )
