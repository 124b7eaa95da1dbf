"""The answer to a question from its rows: one set of samples, four intervals, one verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.protocol.verdict import verdict
from pipeline.statistics.refits import RefitIntervals, refit_intervals


@dataclass(frozen=True)
class Answer:
    """What is known of a question.

    Attributes:
        answer, words: `yes`, `no` or `undecided`, and the reason.
        samples, units, refits: how many there are.
        by_refit: the mean difference of every refit.
        method, baseline: mean values.
        intervals: of the difference; the verdict is about `all`. All in points of accuracy or percent of perplexity
            (`pipeline/protocol/differences.py`).
    """

    answer: str
    words: str
    samples: int
    units: int
    refits: int
    by_refit: tuple[float, ...]
    method: float
    baseline: float
    intervals: RefitIntervals


def answer(rows: pd.DataFrame, smallest: float, confidence: float, unit: str = "points") -> Answer:
    """The answer from the rows of `schemas.DIFFERENCES` of one question; `smallest` in their unit."""
    means: Any = rows[["method", "baseline"]].mean()
    table: Any = rows.pivot(index="sample_id", columns="refit", values="difference")
    units: Any = rows.drop_duplicates("sample_id").set_index("sample_id")["unit"].loc[table.index]
    intervals = refit_intervals(table.to_numpy().T, units.to_numpy(dtype=str), confidence)
    found = verdict(intervals.all, smallest, unit)
    return Answer(
        answer=found.answer,
        words=found.words,
        samples=len(table),
        units=int(units.nunique()),
        refits=table.shape[1],
        by_refit=tuple(table.mean().tolist()),
        method=float(means["method"]),
        baseline=float(means["baseline"]),
        intervals=intervals,
    )


def unit_of(samples: pd.DataFrame) -> Any:
    """What succeeds and fails together: the computation of a sample where it has one, else its task."""
    return samples["computation"].where(samples["computation"] != "", samples["task"])
