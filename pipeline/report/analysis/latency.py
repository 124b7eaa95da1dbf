"""Measured speed beside accuracy (RQ4): the timings of every batch and context, with the test accuracy of each.

Every timing has a dense one of its own, from steps that took turns with it, because a machine is not equally fast all
the time. A latency is therefore placed by its speed-up: the dense model's median over all timings of the batch and
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
    """A method at a target, timed; intervals of time are quartiles of decode steps.

    Attributes:
        method, target: what was timed.
        ms: milliseconds a token, as placed (see above), with the quartiles of the speed-up.
        measured: milliseconds a token as they were measured, the share of routing included.
        step: milliseconds of a decode step.
        router_ms: milliseconds to route the prompts of the batch, once.
        tokens: tokens a second, of the whole batch.
        dense_ms: milliseconds of the dense steps in between.
        speedup: over the dense model.
        skipped: share of projections' weights that no sequence needed.
        moved: bytes a step reads, as a share of the dense step's.
        kernels, copy: GB/s of kept weights, and of a copy of memory.
        load: programs that wanted a core meanwhile.
        point: accuracy and loss on the test split; None where no sample can be right or wrong.
    """

    method: Method
    target: float
    ms: Interval
    measured: float
    step: Interval
    router_ms: float
    tokens: float
    dense_ms: float
    speedup: Interval
    skipped: float
    moved: float
    kernels: float
    copy: float
    load: float
    point: Point | None

    @property
    def is_deployable(self) -> bool:
        """Whether a new input's group can be known: pooled or routed."""
        return self.method.is_pooled or self.method.is_routed


@dataclass(frozen=True)
class Cell:
    """One batch and context.

    Attributes:
        batch: sequences decoded at a time.
        context: tokens in front.
        dense_ms: median, lowest and highest of the dense medians of all timings.
        dense_way: how the dense model ran.
        dense: its accuracy.
        timings: in the plan's order.
    """

    batch: int
    context: int
    dense_ms: Interval
    dense_way: str
    dense: Point | None
    timings: list[Timing]

    @property
    def frontier(self) -> list[tuple[float, float]]:
        """(milliseconds, accuracy) of the deployable points on the frontier, fastest first; with the dense model's."""
        if self.dense is None:
            return []
        found = [(self.dense_ms.value, self.dense.accuracy.value)]
        found += [(one.ms.value, one.point.accuracy.value) for one in self.timings if one.is_deployable and one.point]
        return undominated(found)


@dataclass(frozen=True)
class Latency:
    """What was timed.

    Attributes:
        reason: why nothing was, as the end of a sentence; None if something was.
        facts: facts.json.
        cells: smallest batch and shortest context first; empty if nothing was timed.
    """

    reason: str | None
    facts: Mapping[str, Any]
    cells: list[Cell]


def latency(plan: Plan, evidence: Evidence, points: Sequence[Point]) -> Latency:
    """The timings of the plan's methods and targets.

    Args:
        plan: what was asked for.
        evidence: the tables.
        points: operating points of the test split.
    """
    facts = evidence.latency_facts
    known = {(point.method.name, point.target): point for point in points}
    dense = next((point for point in points if point.method.is_dense), None)
    asked = [(method.name, target) for method in plan.sparse for target in plan.targets]
    rows = evidence.timings.set_index(["method", "target"], drop=False)
    rows = rows.loc[rows.index.isin(asked)]
    cells = [
        _cell(plan, cast(pd.DataFrame, part), dense, known)
        for _, part in rows.reset_index(drop=True).groupby(["batch", "context"], sort=True)
    ]
    reason = facts.get("reason")
    if reason is None and not cells:
        reason = "no method of this report was among those that were timed"
    return Latency(reason, facts, cells)


def undominated(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, worth) that no other one beats in one of the two and equals or beats in the other, by cost."""
    best: list[tuple[float, float]] = []
    for cost, worth in sorted(set(points), key=lambda one: (one[0], -one[1])):
        if not best or worth > best[-1][1]:
            best.append((cost, worth))
    return best


def _cell(plan: Plan, rows: pd.DataFrame, dense: Point | None, known: Mapping[tuple[str, float], Point]) -> Cell:
    every = rows["dense_ms"].to_numpy()
    reference = float(np.median(every))
    by_key = {(row.method, row.target): row for row in cast(Any, rows.itertuples(index=False))}
    keys = [(method, target) for method in plan.sparse for target in plan.targets if (method.name, target) in by_key]
    first = next(iter(by_key.values()))
    return Cell(
        batch=int(first.batch),
        context=int(first.context),
        dense_ms=Interval(reference, float(every.min()), float(every.max())),
        dense_way=str(first.dense_way),
        dense=dense,
        timings=[
            _timing(method, by_key[method.name, target], reference, known.get((method.name, target)))
            for method, target in keys
        ],
    )


def _timing(method: Method, row: Any, dense_ms: float, point: Point | None) -> Timing:
    return Timing(
        method=method,
        target=row.target,
        ms=Interval(dense_ms / row.speedup, dense_ms / row.speedup_high, dense_ms / row.speedup_low),
        measured=row.ms_per_token,
        step=Interval(row.step_ms, row.step_ms_low, row.step_ms_high),
        router_ms=row.router_ms,
        tokens=row.tokens_per_second,
        dense_ms=row.dense_ms,
        speedup=Interval(row.speedup, row.speedup_low, row.speedup_high),
        skipped=row.skipped,
        moved=row.bytes_moved / row.dense_bytes,
        kernels=row.kernel_gb_per_second,
        copy=row.copy_gb_per_second,
        load=row.load,
        point=point,
    )
