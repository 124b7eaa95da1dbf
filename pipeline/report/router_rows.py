"""RQ3's tables: what routers get right, cost and lose (like `pipeline/report/rows.py`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.report.findings import Findings
from pipeline.report.plan import Plan
from pipeline.report.routers import RegretRow, RouterRow
from pipeline.report.rows import NONE, Row, gap_or_dash, heat_cell, heat_table, percent_cell, share
from pipeline.report.wording import quantity, target_name


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
                "train": share(train[row.router].accuracy.value) if row.router in train else NONE,
                "largest": share(row.largest),
                "flops": quantity(cost.flops) if cost is not None and cost.flops is not None else NONE,
                "share": f"{100 * cost.share:.3g}" if cost is not None and cost.share is not None else NONE,
            }
        )
    return found


def confusion_table(row: RouterRow) -> Row:
    """Samples of every true group (rows) by the group the router named (columns)."""
    totals = np.maximum(row.confusion.sum(axis=1, keepdims=True), 1)
    shares = row.confusion / totals
    rows = [
        {
            "name": f"group {i}",
            "extra": [],
            "cells": [heat_cell(str(n), float(s)) for n, s in zip(counts, part, strict=True)],
        }
        for i, (counts, part) in enumerate(zip(row.confusion, shares, strict=True))
    ]
    caption = f"{row.router}: true group in rows, named group in columns, samples"
    return heat_table(caption, "", [str(i) for i in range(len(rows))], rows)
