"""Tables of perplexity, and sentences about samples that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.report.analysis.perplexity import TextPoint, TextTask
from pipeline.report.page.rows import NONE, Row, interval_cell, percentage, sign_tone
from pipeline.report.text.wording import listed, number, target_name
from pipeline.statistics.bootstrap import Interval

_REPEATED = {
    "in_both_splits": "Questions that stand in the train and in the test split",
    "contradicting": "Questions that are asked elsewhere with another right answer",
}


def perplexity_tables(tasks: Sequence[TextTask]) -> list[Row]:
    """One table per text task: every method at every target. Differences on one window have no interval to mark."""
    return [
        {
            "caption": f"{task.task}: {task.samples:,} windows, {task.tokens:,} scored tokens",
            "rows": [_row(point, is_marked=task.samples > 1) for point in task.points],
        }
        for task in tasks
    ]


def left_out_sentences(counts: pd.DataFrame) -> list[str]:
    """Samples that stage `prepare` left out, tasks with fewer items than were asked for, and questions that are asked
    twice; empty where there is nothing to say."""
    sentences: list[str] = []
    too_long: Any = counts[counts["too_long"] > 0]
    if len(too_long):
        named = [f"{row.too_long:,} of `{row.task}` ({row.split})" for row in too_long.itertuples()]
        sentences.append(f"Left out because they are longer than the model's context: {listed(named)}.")
    few: Any = counts[counts["taken"] < counts["wanted"]]
    if len(few):
        named = [f"{row.taken:,} of {row.wanted:,} for `{row.task}` ({row.split})" for row in few.itertuples()]
        sentences.append(f"Fewer items than asked for: {listed(named)}.")
    for column, fact in _REPEATED.items():
        rows: Any = counts[counts[column] > 0]
        if len(rows):
            named = [f"{row[column]:,} of `{row['task']}` ({row['split']})" for _, row in rows.iterrows()]
            sentences.append(f"{fact}: {listed(named)}.")
    return sentences


def _row(point: TextPoint, is_marked: bool) -> Row:
    return {
        "method": point.method.name,
        "target": NONE if point.method.is_dense else target_name(point.target),
        "perplexity": interval_cell(point.perplexity, lambda value: f"{value:.4g}"),
        "over_dense": _difference(point.over_dense, is_marked=False),
        "over_baseline": _difference(point.over_baseline, is_marked),
        "sparsity": percentage(point.sparsity),
        "compute": percentage(point.compute),
    }


def _difference(interval: Interval | None, is_marked: bool) -> Row | None:
    """A difference of log-perplexity, of which lower is better."""
    if interval is None:
        return None
    return interval_cell(interval, lambda value: number(value, 3), sign_tone(interval, good=-1) if is_marked else "")
