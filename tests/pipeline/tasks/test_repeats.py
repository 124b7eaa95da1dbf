"""`pipeline.tasks.repeats`: questions that are asked twice are counted."""

from __future__ import annotations

import pandas as pd
import pytest

from pipeline.tasks.repeats import repeats


def row(
    split: str, prompt: str, answer: str, choices: tuple[str, ...] = (), kind: str = "generation"
) -> dict[str, object]:
    return {"split": split, "prompt": prompt, "answer": answer, "choices": list(choices), "kind": kind}


@pytest.mark.tried("tokens", "warned")
@pytest.mark.parametrize(
    ("rows", "in_both", "contradicting"),
    [
        pytest.param([row("train", "a", "1"), row("test", "a", "1")], 2, 0, id="one question in both splits"),
        pytest.param([row("train", "a", "1"), row("test", "a", "2")], 2, 2, id="other answers across splits"),
        pytest.param([row("test", "a", "1"), row("test", "a", "2")], 0, 2, id="other answers within a split"),
        pytest.param([row("train", "a", " 1"), row("test", "a", "1")], 2, 0, id="answers that differ in a space"),
        pytest.param(
            [row("train", "a", "x", ("x", "y"), "choice"), row("test", "a", "y", ("y", "x"), "choice")], 2, 2,
            id="the same choices in another order",
        ),
        pytest.param(
            [row("train", "a", "x", ("x", "y"), "choice"), row("test", "a", "z", ("z", "y"), "choice")], 0, 0,
            id="other choices",
        ),
        pytest.param(
            [row("train", "a", "b", kind="text"), row("test", "a", "c", kind="text")], 0, 0, id="texts of one context"
        ),
    ],
)  # fmt: skip
def test_repeated_and_contradicting_questions_are_counted(rows: list[Row], in_both: int, contradicting: int):
    samples = pd.DataFrame(rows).assign(sample_id=[str(number) for number in range(len(rows))])
    assert repeats(samples).sum().to_dict() == {"in_both_splits": in_both, "contradicting": contradicting}
