"""The table of differences at equal realised compute, as the page shows it (like `pipeline/report/page/rows.py`).

Columns are targets, so that rows can be compared; the level of a pair, the FLOPs that remain where both are read,
stands in every cell, because it may differ from row to row.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.findings import Accuracies
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.refit_variance import DrawSpread, RefitVariance
from pipeline.report.page.rows import NONE, Row, gap_cell
from pipeline.report.text.wording import level_name, level_span, number, p_value, points, target_name
from pipeline.statistics.bootstrap import Interval

COLUMNS = ("mean", "p, corrected; tasks redrawn", "in refit variance")
"""Before the targets."""
EMPTY: Row = {"text": "", "bold": False}


def difference_table(plan: Plan, split: Accuracies) -> Row:
    """Differences from the pooled method of the configuration, from random groups and from the baseline: the mean over
    levels with its interval, the corrected p-value and the interval that redraws tasks, the gain in units of refit
    variance, then target by target. `heading` begins a kind of comparison; the gains of a configuration end with a row
    of what its draws of random groups differ by.
    """
    noise = {row.method: row for row in split.refit_variance}
    spreads = {row.reference: row for row in split.draw_spreads}
    families = {
        "Groups against the pooled method of their own configuration": _gains(plan, split, noise, spreads),
        "Groups against random groups of the same sizes": [_row(plan, row) for row in split.controls],
        f"Other methods against {plan.baseline}": [_row(plan, row) for row in split.differences],
    }
    rows = [
        {**row, "heading": heading if i == 0 else ""}
        for heading, family in families.items()
        for i, row in enumerate(family)
    ]
    return {"columns": [*COLUMNS, *map(target_name, plan.targets)], "rows": rows}


def _gains(
    plan: Plan, split: Accuracies, noise: Mapping[Method, RefitVariance], spreads: Mapping[Method, DrawSpread]
) -> list[Row]:
    found: list[Row] = []
    for reference in dict.fromkeys(row.reference for row in split.gains):
        mine = [row for row in split.gains if row.reference == reference]
        found += [_row(plan, row, noise.get(row.method)) for row in mine]
        found += [_spread_row(spreads[reference])] if reference in spreads else []
    return found


def _row(plan: Plan, row: Comparison, noise: RefitVariance | None = None) -> Row:
    over_tasks = _ends(row.over_tasks) if row.over_tasks is not None else NONE
    p_corrected = {"text": p_value(row.p_corrected), "small": over_tasks, "bold": row.is_claimed(plan.alpha)}
    mean = {**gap_cell(row.mean, good=1), "at": level_span(row.levels)}
    gaps = [
        None if gap is None or level is None else {**gap_cell(gap, good=1), "at": level_name(level)}
        for gap, level in zip(row.at_levels, row.levels, strict=True)
    ]
    cells = [mean, p_corrected, _noise_cell(plan, noise), *gaps]
    return {"method": row.method.name, "reference": row.reference.name, "cells": cells}


def _noise_cell(plan: Plan, noise: RefitVariance | None) -> Row:
    """ "2.9×" of 0.45 points; bold where one more draw is not expected to gain as much."""
    if noise is None:
        return EMPTY
    scale = noise.scale
    if scale.deviation is None or scale.times is None:
        return {"text": NONE, "bold": False}
    is_beyond = bool(scale.is_beyond(plan.confidence))
    return {"text": f"{number(scale.times, 1)}×", "small": f"of {_points(scale.deviation)}", "bold": is_beyond}


def _spread_row(row: DrawSpread) -> Row:
    mean = {"text": _points(row.mean), "small": f"at {level_span(row.levels)}", "bold": False}
    cells = [
        None
        if deviation is None or level is None
        else {"text": _points(deviation), "small": f"at {level_name(level)}", "bold": False}
        for deviation, level in zip(row.at_levels, row.levels, strict=True)
    ]
    name = f"refit variance: deviation of {len(row.draws)} random draws"
    return {"method": name, "reference": row.reference.name, "cells": [mean, EMPTY, EMPTY, *cells]}


def _ends(interval: Interval) -> str:
    """Only the ends of a difference's interval."""
    return "[{}, {}]".format(*(points(end).removeprefix("+") for end in (interval.low, interval.high)))


def _points(fraction: float) -> str:
    """A standard deviation in points: 0.0045 -> "0.45"."""
    return f"{100 * fraction:.2f}"
