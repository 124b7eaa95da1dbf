"""Prompts that are asked more than once among the samples: known from training, or with another right answer."""

from __future__ import annotations

from typing import Any

import pandas as pd

IN_BOTH, CONTRADICTING = "in_both_splits", "contradicting"


def repeats(samples: pd.DataFrame) -> pd.DataFrame:
    """Count repeated questions: the same prompt with the same choices, whatever the task. Text asks nothing.

    Args:
        samples: rows of `schemas.SAMPLES`.

    Returns: for every sample (index as in `samples`), whether its question stands in both splits, and whether it stands
        somewhere with another right answer.
    """
    choices = samples["choices"].map(lambda texts: "\0".join(sorted(map(str, texts))))
    # Text gets a question of its own per sample.
    own = samples["sample_id"].where(samples["kind"] == "text", "")
    question = samples["prompt"] + "\0" + choices + "\0" + own
    rows: Any = samples.assign(question=question, answer=samples["answer"].str.strip())
    by_question = rows.groupby("question", sort=False)
    several = {name: by_question[column].transform("nunique") > 1 for name, column in _COLUMNS.items()}
    return pd.DataFrame(several, index=samples.index)


_COLUMNS = {IN_BOTH: "split", CONTRADICTING: "answer"}
