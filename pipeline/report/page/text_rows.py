"""Tables of text tasks and of what was left out, as cells for the page's template (like
`pipeline/report/page/rows.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pipeline.report.analysis.perplexity import TextTask
from pipeline.report.text.wording import listed, number, percent, target_name
from pipeline.statistics.bootstrap import Interval

NONE = "\N{EM DASH}"
Row = dict[str, Any]


def perplexity_tables(tasks: Sequence[TextTask]) -> list[Row]:
    """One table per text task: every method at every target."""
    return [
        {"caption": f"{one.task}: {one.samples:,} windows, {one.tokens:,} scored tokens", "rows": _rows(one)}
        for one in tasks
    ]


def left_out_sentences(counts: pd.DataFrame) -> list[str]:
    """What `prepare` passed over, and tasks that had fewer items than were asked for; empty where nothing is amiss."""
    found: list[str] = []
    out: Any = counts[counts["too_long"] > 0]
    if len(out):
        named = [f"{row.too_long:,} of `{row.task}` ({row.split})" for row in out.itertuples()]
        found.append(f"Left out because they are longer than the model's context: {listed(named)}.")
    few: Any = counts[counts["taken"] < counts["wanted"]]
    if len(few):
        named = [f"{row.taken:,} of {row.wanted:,} for `{row.task}` ({row.split})" for row in few.itertuples()]
        found.append(f"Fewer items than asked for: {listed(named)}.")
    return found


def _rows(task: TextTask) -> list[Row]:
    points, found = task.points, list[Row]()
    for i, point in enumerate(points):
        found.append(
            {
                "method": point.method.name,
                "starts": i == 0 or points[i - 1].method != point.method,
                "target": NONE if point.method.is_dense else target_name(point.target),
                "perplexity": _cell(point.perplexity, _three_digits),
                "over_dense": _gap(point.over_dense),
                "over_baseline": _gap(point.over_baseline, is_marked=task.samples > 1),  # one window has no interval
                "sparsity": percent(point.sparsity).removesuffix("%"),
                "compute": percent(point.compute).removesuffix("%"),
            }
        )
    return found


def _gap(interval: Interval | None, is_marked: bool = False) -> Row | None:
    """A difference of log-perplexity; marked where its interval excludes zero, with lower as the welcome sign."""
    if interval is None:
        return None
    cell = _cell(interval, lambda value: number(value, 3))
    if is_marked and (interval.low > 0 or interval.high < 0):
        cell["tone"] = "down" if interval.value > 0 else "up"
    return cell


def _cell(interval: Interval, write: Any) -> Row:
    return {"value": write(interval.value), "low": write(interval.low), "high": write(interval.high), "tone": ""}


def _three_digits(value: float) -> str:
    return f"{value:.4g}"
