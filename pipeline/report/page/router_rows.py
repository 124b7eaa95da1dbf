"""RQ3's tables: accuracy, cost, regret and benefit of routers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.findings import Findings
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RegretRow, RouterRow
from pipeline.report.page.rows import (
    NONE,
    Row,
    difference_cell,
    heat_cell,
    heat_row,
    heat_table,
    interval_cell,
    percent_cell,
    percentage,
    sign_tone,
)
from pipeline.report.text.benefit_routers import DECIMALS
from pipeline.report.text.wording import number, quantity, target_name
from pipeline.statistics.bootstrap import Interval


def router_table(findings: Findings) -> list[Row]:
    """Accuracy and cost of every router."""
    train = {row.router: row for row in findings.train.routers} if findings.train else {}
    costs = {row.method.groups: row for row in findings.test.regrets}
    return [
        {
            "router": row.router,
            "accuracy": percent_cell(row.accuracy),
            "train": percentage(train[row.router].accuracy.value) if row.router in train else NONE,
            "largest": percentage(row.largest),
            "new_task": row.new_task and percent_cell(row.new_task),
            "new_template": row.new_template and percent_cell(row.new_template),
            **_cost(costs.get(row.router)),
        }
        for row in findings.test.routers
    ]


def benefit_router_table(rows: Sequence[BenefitRouterRow]) -> list[Row]:
    """Abstention, benefit and cost of every benefit router."""
    return [
        {
            "router": row.router,
            "abstained": percent_cell(row.abstained),
            "cells": [
                _benefit_cell(benefit)
                for benefit in (row.benefit, row.own, row.constant, row.new_task, row.new_template)
            ],
            **_cost(row),
        }
        for row in rows
    ]


def regret_table(plan: Plan, regrets: Sequence[RegretRow]) -> Row:
    """Regret at every target and on average."""
    rows = [
        {
            "method": row.oracle.name,
            "reference": row.method.name,
            "heading": "",
            "cells": [
                None if regret is None else difference_cell(regret, good=-1) for regret in (*row.at_targets, row.mean)
            ],
        }
        for row in regrets
    ]
    return {"columns": [*map(target_name, plan.targets), "mean"], "rows": rows}


def confusion_table(row: RouterRow) -> Row:
    """Samples of every oracle group (rows) by routed group (columns)."""
    fractions = row.confusion / np.maximum(row.confusion.sum(axis=1, keepdims=True), 1)
    rows = [
        heat_row(
            f"group {group}",
            [heat_cell(str(count), float(part)) for count, part in zip(counts, parts, strict=True)],
        )
        for group, (counts, parts) in enumerate(zip(row.confusion, fractions, strict=True))
    ]
    caption = f"{row.router}: samples by oracle group (rows) and routed group (columns)"
    return heat_table(caption, "", [str(group) for group in range(len(rows))], rows)


def _cost(row: RegretRow | BenefitRouterRow | None) -> Row:
    """FLOPs per prompt, and percent of the dense model's."""
    if row is None or row.flops is None or row.fraction is None:
        return {"flops": NONE, "fraction": NONE}
    return {"flops": quantity(row.flops), "fraction": f"{100 * row.fraction:.3g}"}


def _benefit_cell(interval: Interval | None) -> Row | None:
    """Log ratios; bold where the interval excludes zero."""
    return interval and interval_cell(interval, lambda value: number(value, DECIMALS), sign_tone(interval, good=1))
