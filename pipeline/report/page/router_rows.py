"""RQ3's tables: what routers get right, cost and lose (like `pipeline/report/page/rows.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RegretRow, RouterRow
from pipeline.report.page.rows import NONE, Row, fraction, gap_or_dash, heat_cell, heat_table, percent_cell
from pipeline.report.text.benefit_routers import DECIMALS
from pipeline.report.text.wording import number, quantity, target_name
from pipeline.statistics.bootstrap import Interval


def regret_table(plan: Plan, rows: Sequence[RegretRow]) -> Row:
    """Regret at every target and on average."""
    found = [
        {
            "method": row.oracle.name,
            "reference": row.method.name,
            "heading": "",
            "cells": [gap_or_dash(gap, good=-1) for gap in (*row.at_targets, row.mean)],
        }
        for row in rows
    ]
    return {"columns": [*map(target_name, plan.targets), "mean"], "rows": found}


def router_table(findings: Findings) -> list[Row]:
    """RQ3's table: accuracy and cost of every router."""
    train = {row.router: row for row in findings.train.routers} if findings.train else {}
    costs = {row.method.groups: row for row in findings.test.regrets}
    found: list[Row] = []
    for row in findings.test.routers:
        cost = costs.get(row.router)
        found.append(
            {
                "router": row.router,
                "accuracy": percent_cell(row.accuracy),
                "train": fraction(train[row.router].accuracy.value) if row.router in train else NONE,
                "largest": fraction(row.largest),
                "new_task": percent_cell(row.new_task) if row.new_task else None,
                "new_template": percent_cell(row.new_template) if row.new_template else None,
                "flops": quantity(cost.flops) if cost is not None and cost.flops is not None else NONE,
                "share": f"{100 * cost.fraction:.3g}" if cost is not None and cost.fraction is not None else NONE,
            }
        )
    return found


def benefit_router_table(rows: Sequence[BenefitRouterRow]) -> list[Row]:
    """What benefit routers choose, bring and cost."""
    return [
        {
            "gate": row.gate,
            "abstained": percent_cell(row.abstained),
            "cells": [
                _benefit_cell(one) for one in (row.brings, row.own, row.constant, row.new_task, row.new_template)
            ],
            "flops": quantity(row.flops),
            "share": f"{100 * row.fraction:.3g}",
        }
        for row in rows
    ]


def confusion_table(row: RouterRow) -> Row:
    """Samples of every true group (rows) by the group the router named (columns)."""
    totals = np.maximum(row.confusion.sum(axis=1, keepdims=True), 1)
    fractions = row.confusion / totals
    rows = [
        {
            "name": f"group {i}",
            "extra": [],
            "cells": [heat_cell(str(n), float(s)) for n, s in zip(counts, part, strict=True)],
        }
        for i, (counts, part) in enumerate(zip(row.confusion, fractions, strict=True))
    ]
    caption = f"{row.router}: true group in rows, named group in columns, samples"
    return heat_table(caption, "", [str(i) for i in range(len(rows))], rows)


def _benefit_cell(interval: Interval | None) -> Row | None:
    """Log ratios; bold colour where the interval excludes zero."""
    if interval is None:
        return None
    tone = "up" if interval.low > 0 else "down" if interval.high < 0 else ""
    value, low, high = (number(one, DECIMALS) for one in (interval.value, interval.low, interval.high))
    return {"value": value, "low": low, "high": high, "tone": tone}
