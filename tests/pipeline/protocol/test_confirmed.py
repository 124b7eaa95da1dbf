"""Answers are read in the order of the questions, in fractions, and what is missing is not made up."""

from __future__ import annotations

import pytest

from pipeline.protocol.confirmed import confirmed
from pipeline.statistics.bootstrap import Interval

QUESTIONS = {name: {"method": name, "baseline": "pooled", "target": 0.5} for name in ("second", "first")}
ENDS = {"value": 2.0, "low": 1.0, "high": 3.0}
ANSWER = {"answer": "yes", "words": "yes: +2.0", "samples": 9, "units": 3, "refits": 2, "intervals": {"all": ENDS}}
RUN = {"commit": "c", "presets": []}


def test_answers_have_their_question_and_an_interval_in_fractions():
    found = confirmed(QUESTIONS, {"first": ANSWER, "second": ANSWER}, RUN)
    assert [answer.question for answer in found.answers] == ["second", "first"]
    assert found.answers[0].method == "second" and found.answers[0].interval == Interval(0.02, 0.01, 0.03)


@pytest.mark.parametrize("lacking", [*ANSWER, "second"])
def test_what_an_answer_lacks_is_an_error(lacking):
    answers = {
        name: {key: value for key, value in ANSWER.items() if key != lacking} for name in QUESTIONS if name != lacking
    }
    with pytest.raises(KeyError, match=lacking):
        confirmed(QUESTIONS, answers, RUN)
