"""The table of differences at matched compute.

Columns are targets, so that rows can be compared; the remaining FLOPs at which a pair is compared stand in every cell,
because they may differ from row to row.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.findings import Accuracies
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.refit_variance import DrawSpread, RefitVariance
from pipeline.report.page.rows import NONE, Row, difference_cell
from pipeline.report.text.wording import compute_range, number, p_value, remaining_compute, target_name

COLUMNS = ("mean", "p, corrected; bootstrap over tasks", "in units of refit deviation")
"""Before the targets."""
EMPTY: Row = {"text": "", "bold": False}


def difference_table(plan: Plan, split: Accuracies) -> Row:
    """Differences from the pooled method of the configuration, from random groups and from the baseline.

    A row has the mean over targets with its interval, the corrected p-value with the interval of the bootstrap over
    tasks, the gain in units of the refit deviation, then target by target. `heading` begins a kind of comparison; the
    gains of a configuration end with a row of the deviation between its replicates of random groups.
    """
    families = {
        "Groups against the pooled method of their own configuration": _gains(plan, split),
        "Groups against random groups of the same sizes": [_row(plan, row) for row in split.controls],
        f"Other methods against {plan.baseline}": [_row(plan, row) for row in split.differences],
    }
    rows = [
        {**row, "heading": heading if position == 0 else ""}
        for heading, family in families.items()
        for position, row in enumerate(family)
    ]
    return {"columns": [*COLUMNS, *map(target_name, plan.targets)], "rows": rows}


def _gains(plan: Plan, split: Accuracies) -> list[Row]:
    variances: Mapping[Method, RefitVariance] = {row.method: row for row in split.refit_variance}
    spreads = {row.reference: row for row in split.draw_spreads}
    rows: list[Row] = []
    for reference in dict.fromkeys(row.reference for row in split.gains):
        rows += [_row(plan, row, variances.get(row.method)) for row in split.gains if row.reference == reference]
        rows += [_spread_row(spreads[reference])] if reference in spreads else []
    return rows


def _row(plan: Plan, row: Comparison, variance: RefitVariance | None = None) -> Row:
    over_tasks = NONE
    if row.over_tasks is not None:
        over_tasks = "[{low}, {high}]".format(**difference_cell(row.over_tasks))
    p_corrected = {"text": p_value(row.p_corrected), "small": over_tasks, "bold": row.is_claimed(plan.alpha)}
    mean = {**difference_cell(row.mean, good=1), "at": compute_range(row.savings)}
    by_target = [
        None
        if difference is None or saving is None
        else {**difference_cell(difference, good=1), "at": remaining_compute(saving)}
        for difference, saving in zip(row.at_targets, row.savings, strict=True)
    ]
    cells = [mean, p_corrected, _variance_cell(plan, variance), *by_target]
    return {"method": row.method.name, "reference": row.reference.name, "cells": cells}


def _variance_cell(plan: Plan, variance: RefitVariance | None) -> Row:
    """ "2.9×" of 0.45 points; bold where one more replicate is not expected to gain as much."""
    if variance is None:
        return EMPTY
    scale = variance.scale
    if scale.deviation is None or scale.times is None:
        return {"text": NONE, "bold": False}
    is_beyond = bool(scale.is_beyond(plan.confidence))
    return {"text": f"{number(scale.times, 1)}×", "small": f"of {_points(scale.deviation)}", "bold": is_beyond}


def _spread_row(spread: DrawSpread) -> Row:
    by_target = [
        None if deviation is None or saving is None else _deviation_cell(deviation, remaining_compute(saving))
        for deviation, saving in zip(spread.at_targets, spread.savings, strict=True)
    ]
    return {
        "method": f"refit deviation of {len(spread.draws)} random draws",
        "reference": spread.reference.name,
        "cells": [_deviation_cell(spread.mean, compute_range(spread.savings)), EMPTY, EMPTY, *by_target],
    }


def _deviation_cell(deviation: float, compute: str) -> Row:
    return {"text": _points(deviation), "small": f"at {compute}", "bold": False}


def _points(fraction: float) -> str:
    """A standard deviation in points: 0.0045 -> "0.45"."""
    return f"{100 * fraction:.2f}"
