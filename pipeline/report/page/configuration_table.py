"""The table of configurations: methods, by configuration and kind of groups (rows), at every target (columns).

Accuracies are at equal *targets*; methods realise slightly different compute, so the last column compares each grouped
method with the pooled one of its configuration at matched compute.
"""

from __future__ import annotations

from pipeline.report.analysis.configurations import configuration_name, configurations, group_kind
from pipeline.report.analysis.findings import SplitFindings
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.page.rows import Row, difference_cell, percent_cell
from pipeline.report.text.wording import compute_range, target_name


def configuration_table(plan: Plan, split: SplitFindings) -> Row | None:
    """None where no sample can be right or wrong. `best` marks the highest accuracy of any sparse method at a target;
    it does not claim a difference.
    """
    if not split.points:
        return None
    accuracies = {(point.method, point.target): point.accuracy for point in split.points if not point.method.is_dense}
    best = {
        target: max((accuracy.value for (_, at), accuracy in accuracies.items() if at == target), default=None)
        for target in plan.targets
    }
    gains = {row.method: {**difference_cell(row.mean, good=1), "at": compute_range(row.savings)} for row in split.gains}

    def cell(method: Method, target: float) -> Row | None:
        accuracy = accuracies.get((method, target))
        return accuracy and {**percent_cell(accuracy), "best": accuracy.value == best[target]}

    rows = [
        {
            "configuration": configuration_name(plan, configuration) if number == 0 else "",
            "span": len(configuration.methods),
            "kind": group_kind(method),
            "method": method.name,
            "cells": [cell(method, target) for target in plan.targets],
            "gain": gains.get(method),
        }
        for configuration in configurations(plan)
        for number, method in enumerate(configuration.methods)
    ]
    dense = next(point.accuracy for point in split.points if point.method.is_dense)
    columns = [target_name(target) for target in plan.targets]
    return {"columns": columns, "rows": rows, "dense": percent_cell(dense)}
