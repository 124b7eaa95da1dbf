"""Measured speed beside accuracy (RQ4): the timings of every batch and context, with the test accuracy of each.

Every timing has a dense one of its own, from interleaved steps, because a machine's speed varies. Latencies are
therefore comparable through their speed-ups: shown is the dense model's median over all timings of the batch and
context, divided by the method's speed-up. On a quiet machine that is the measured latency.

An operating point is on the frontier if nothing that can be deployed, the dense model included, is both faster and more
accurate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from pipeline.report.analysis.accuracy import Point
from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Method, Plan
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class Timing:
    """A method at a target, timed.

    Attributes:
        row: of TIMINGS, as it was measured.
        ms: milliseconds a token from the speed-up (see above), with its quartiles.
        speedup: over the dense model, with its quartiles.
        point: accuracy and loss on the test split; None where no sample can be right or wrong.
    """

    method: Method
    target: float
    row: Any
    ms: Interval
    speedup: Interval
    point: Point | None

    @property
    def moved(self) -> float:
        """Bytes that a step reads, as a fraction of the dense step's."""
        return self.row.bytes_moved / self.row.dense_bytes

    @property
    def is_deployable(self) -> bool:
        """Whether a new input's group can be known: pooled or routed."""
        return self.method.is_pooled or self.method.is_routed


@dataclass(frozen=True)
class Cell:
    """One batch (sequences decoded at a time) and context (tokens in front); timings are in the plan's order.

    `dense_ms` is the median, lowest and highest of the dense medians of all timings, `dense_way` how the dense model
    ran, `dense` its accuracy.
    """

    batch: int
    context: int
    dense_ms: Interval
    dense_way: str
    dense: Point | None
    timings: list[Timing]

    @property
    def frontier(self) -> list[tuple[float, float]]:
        """(milliseconds, accuracy) of the frontier of deployable points and the dense model, fastest first."""
        if self.dense is None:
            return []
        deployable = [(row.ms.value, row.point) for row in self.timings if row.is_deployable]
        points = [(self.dense_ms.value, self.dense), *deployable]
        return undominated([(ms, point.accuracy.value) for ms, point in points if point is not None])


@dataclass(frozen=True)
class Latency:
    """All timings.

    Attributes:
        reason: why nothing was timed, as the end of a sentence; None if something was.
        facts: facts.json.
        cells: smallest batch and shortest context first; empty if nothing was timed.
    """

    reason: str | None
    facts: Mapping[str, Any]
    cells: list[Cell]


def latency(plan: Plan, evidence: Evidence, points: Sequence[Point]) -> Latency:
    """The timings of the plan's methods and targets; `points` are the operating points of the test split."""
    facts, rows = evidence.latency_facts, evidence.timings
    planned = [(method.name, target) for method in plan.sparse for target in plan.targets]
    rows = rows.loc[pd.MultiIndex.from_arrays([rows["method"], rows["target"]]).isin(planned)]
    cells = [_cell(plan, cast(pd.DataFrame, part), points) for _, part in rows.groupby(["batch", "context"], sort=True)]
    reason = facts.get("reason")
    if reason is None and not cells:
        reason = "no method of this report was among those that were timed"
    return Latency(reason, facts, cells)


def undominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, worth) that no other one beats in one of the two and equals or beats in the other, by cost."""
    best: list[tuple[float, float]] = []
    for cost, worth in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not best or worth > best[-1][1]:
            best.append((cost, worth))
    return best


def _cell(plan: Plan, rows: pd.DataFrame, points: Sequence[Point]) -> Cell:
    dense_ms = rows["dense_ms"].to_numpy()
    median = float(np.median(dense_ms))
    by_key = {(row.method, row.target): row for row in cast(Any, rows.itertuples(index=False))}
    keys = [(method, target) for method in plan.sparse for target in plan.targets if (method.name, target) in by_key]
    by_point = {(point.method.name, point.target): point for point in points}
    first = next(iter(by_key.values()))
    return Cell(
        batch=int(first.batch),
        context=int(first.context),
        dense_ms=Interval(median, float(dense_ms.min()), float(dense_ms.max())),
        dense_way=str(first.dense_way),
        dense=next((point for point in points if point.method.is_dense), None),
        timings=[
            _timing(method, by_key[method.name, target], median, by_point.get((method.name, target)))
            for method, target in keys
        ],
    )


def _timing(method: Method, row: Any, dense_ms: float, point: Point | None) -> Timing:
    ms = Interval(dense_ms / row.speedup, dense_ms / row.speedup_high, dense_ms / row.speedup_low)
    return Timing(method, row.target, row, ms, Interval(row.speedup, row.speedup_low, row.speedup_high), point)
