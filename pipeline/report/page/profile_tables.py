"""RQ2's and RQ4's tables: differences at matched compute, accuracies, tasks, allocations, costs, timings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.report.analysis.accuracy import Comparison, Point
from pipeline.report.analysis.configurations import configuration_name, configurations, group_kind
from pipeline.report.analysis.evidence import total
from pipeline.report.analysis.findings import Accuracies
from pipeline.report.analysis.pairs import is_literal
from pipeline.report.analysis.perplexity import TextPoint, TextTask
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.refit_variance import Scale
from pipeline.report.analysis.specialisation import PooledAllocation, Specialisation
from pipeline.report.analysis.tasks import TaskRow
from pipeline.report.page.cells import NONE, difference, figure, heat, interval, percentage, percents, plain, sign_tone
from pipeline.report.page.figures import key
from pipeline.report.page.table import Cell, Column, Row, Table
from pipeline.report.text.decision import RELEVANT
from pipeline.report.text.names import display_name
from pipeline.report.text.wording import (
    compute_range,
    p_value,
    percent,
    points,
    quantity,
    remaining_compute,
    target_name,
)

FADED_AT = 0.5
"""Accuracy lost against dense at which a task cell has its full shade."""


def differences(accuracies: Accuracies, caption: str) -> Table:
    """Every comparison at matched compute; the literal question (WINA per cluster against WINA pooled) is the first."""
    plan, gains = accuracies.plan, sorted(accuracies.gains, key=lambda row: not is_literal(row.method))
    families = {
        "Groups minus the pooled method of their own configuration": gains,
        "Groups minus random groups of the same sizes": accuracies.controls,
        f"Other methods minus {plan.baseline}": accuracies.differences,
    }
    rows = [
        _difference_row(plan, row, heading if number == 0 else "", accuracies.refit_variance if row in gains else {})
        for heading, family in families.items()
        for number, row in enumerate(family)
    ]
    columns = [
        Column("mean"), Column("over tasks"), Column("p, corrected"), Column("refit deviations"), *target_columns(plan),
    ]  # fmt: skip
    note = (
        "Points of accuracy, with intervals over samples; at: FLOPs that remain, % of dense, at which the two are "
        "compared. Bold: the interval excludes zero (p: below the level after Holm's correction). Refit deviations: "
        "the gain over the standard deviation between fits of random groups, where several were run."
    )
    return Table(caption, "method minus reference", columns, rows, note)


def accuracy_table(accuracies: Accuracies) -> Table:
    """Every method at every target, by configuration."""
    plan = accuracies.plan
    known = {(point.method, point.target): point for point in accuracies.points}
    dense = next(point for point in accuracies.points if point.method.is_dense)
    rows = [Row("dense", [plain("reference"), *[percents(dense.accuracy)] * len(plan.targets)])]
    for configuration in configurations(plan):
        for number, method in enumerate(configuration.methods):
            cells = [_accuracy_cell(known.get((method, target))) for target in plan.targets]
            heading = configuration_name(plan, configuration) if number == 0 else ""
            rows.append(Row(method.name, [plain(group_kind(method)), *cells], heading))
    note = (
        "Accuracy in %, with intervals; small: FLOPs that remain and points lost. Bold: shown to lose less than "
        f"{100 * RELEVANT:g} points. Equal targets are not quite equal compute; differences above are at equal compute."
    )
    if len(known) < 1 + len(plan.sparse) * len(plan.targets):
        note += " A dash: the masks of the method reach fewer weights than the target needs."
    return Table(
        "Accuracy by method and target", "method", [Column("groups", is_text=True), *target_columns(plan)], rows, note
    )


def sparsity_table(accuracies: Accuracies) -> Table:
    """Realised sparsity over samples."""
    plan = accuracies.plan
    known = {(point.method, point.target): point for point in accuracies.points}

    def cell(point: Point | None) -> Cell:
        if point is None:
            return Cell(NONE)
        ends = f"± {percentage(point.deviation)} [{percentage(point.spread[0])}, {percentage(point.spread[1])}]"
        return Cell(percentage(point.sparsity), point.sparsity, ends)

    rows = [Row(m.name, [cell(known.get((m, target))) for target in plan.targets]) for m in plan.sparse]
    note = (
        "Sparsity of all weights that was realised on a sample, in %: mean ± standard deviation [5th, 95th percentile]."
    )
    return Table("Realised sparsity over samples", "method", target_columns(plan), rows, note)


def task_table(plan: Plan, rows: Sequence[TaskRow], target: int) -> Table:
    """Accuracy of every task and method at one target, shaded by what it loses against dense."""

    def cell(row: TaskRow, name: str) -> Cell:
        accuracy = row.accuracy[name][target]
        if accuracy is None:
            return heat(NONE, 0.0)
        return heat(percentage(accuracy, 0), (row.dense.value - accuracy) / FADED_AT, accuracy)

    names = [method.name for method in plan.sparse]
    columns = [Column("samples"), Column("chance"), Column("dense"), *map(Column, names)]
    body = [
        Row(row.task, [plain(row.samples), figure(row.chance, lambda value: percentage(value, 0)),
                       figure(row.dense.value, lambda value: percentage(value, 0)),
                       *(cell(row, name) for name in names)])
        for row in rows
    ]  # fmt: skip
    note = "Accuracy in %, at the same target, not at matched compute. Chance is 0 for free generation."
    return Table(f"Tasks at {target_name(plan.targets[target])} sparsity", "task", columns, body, note, is_heat=True)


def pooled_table(pooled: PooledAllocation) -> Table:
    """The sparsities of one pooled allocation: projections (rows) by blocks."""
    rows = [
        Row(name, [heat(f"{100 * value:.0f}", value, value) for value in map(float, values)])
        for name, values in zip(pooled.projections, pooled.values, strict=True)
    ]
    columns = [Column(str(block)) for block in range(pooled.values.shape[1])]
    caption = f"{pooled.configuration} at {target_name(pooled.target)}: sparsity of every block, %"
    return Table(caption, "projection", columns, rows, is_heat=True)


def shift_table(specialisations: Sequence[Specialisation]) -> Table:
    """Distance of the groups of every profile set from the pooled allocation."""
    rows = [
        Row(item.profile, [
            plain(f"{len(item.shifts)} {item.kind}"), plain(item.reference), plain(target_name(item.target)),
            figure(100 * float(item.mean_shift.mean()), lambda value: f"{value:.1f}"),
            plain(f"{100 * float(item.mean_shift.min()):.1f} to {100 * float(item.mean_shift.max()):.1f}"),
        ])
        for item in specialisations
    ]  # fmt: skip
    columns = [
        Column("groups", is_text=True), Column("minus", is_text=True), Column("target"), Column("mean, points"),
        Column("range over groups"),
    ]  # fmt: skip
    note = (
        "Mean absolute difference of a group's sparsities from the pooled ones. Random groups differ, too, because "
        "each was fitted to other samples: compare learned groups with them."
    )
    return Table("How far groups' allocations are from the pooled one", "profile set", columns, rows, note)


def cost_table(plan: Plan, costs: Mapping[str, pd.DataFrame]) -> Table:
    """Cost of finding the allocations of every profile set, and of learned weights; seconds are nowhere, because they
    would differ from machine to machine."""
    unit = total(costs[plan.method(plan.baseline).profile], "tokens")
    allocations = {method.profile: method.allocation for method in plan.sparse}
    rows = [
        Row(name, [
            plain(allocations.get(name, "weights of features, learned once")), plain(len(table)),
            figure(total(table, "tokens"), quantity), figure(total(table, "tokens") / unit if unit else None),
            figure(total(table, "evaluations"), lambda value: f"{value:,.0f}"),
        ])
        for name, table in costs.items()
    ]  # fmt: skip
    columns = [
        Column("allocation", is_text=True), Column("groups"), Column("tokens through the model"),
        Column("times the baseline's"), Column("evaluations"),
    ]  # fmt: skip
    note = "A token through a part of the model counts as the fraction of its weights; a backward pass counts two."
    return Table("Cost of finding the allocations", "profile set", columns, rows, note)


def perplexity_table(plan: Plan, task: TextTask) -> Table:
    """Perplexity of one text task; differences of log-perplexity, of which lower is better."""

    def row(point: TextPoint) -> Row:
        tone = sign_tone(point.over_baseline, -1) if point.over_baseline and task.samples > 1 else ""
        return Row(point.method.name, [
            plain(NONE if point.method.is_dense else target_name(point.target)),
            interval(point.perplexity, lambda value: f"{value:.4g}"), interval(point.over_dense, _log),
            interval(point.over_baseline, _log, tone=tone), figure(point.sparsity, percentage),
            figure(point.compute, percentage),
        ])  # fmt: skip

    columns = [
        Column("target"), Column("perplexity"), Column("log, minus dense"), Column(f"log, minus {plan.baseline}"),
        Column("sparsity, %"), Column("FLOPs, %"),
    ]  # fmt: skip
    caption = f"{task.task}: perplexity of {task.samples:,} windows, {task.tokens:,} scored tokens"
    note = "Log-perplexity in nats a token, at equal targets, not at matched compute. Bold: the interval excludes zero."
    return Table(caption, "method", columns, [row(point) for point in task.points], note)


def _difference_row(plan: Plan, row: Comparison, heading: str, variances: Mapping[Method, Scale]) -> Row:
    scale = variances.get(row.method)
    times = None if scale is None else scale.times
    beyond = "shown" if scale is not None and scale.is_beyond(plan.confidence) else ""
    claimed = "shown" if row.is_claimed(plan.alpha) else ""
    cells = [
        difference(row.mean, good=1, small=f"at {compute_range(row.savings)}"), difference(row.over_tasks, good=1),
        figure(row.p_corrected, p_value, tone=claimed), figure(times, lambda value: f"{value:.1f}", tone=beyond),
        *(
            Cell(NONE) if gap is None or saving is None
            else difference(gap, good=1, small=f"at {remaining_compute(saving)}")
            for gap, saving in zip(row.at_targets, row.savings, strict=True)
        ),
    ]  # fmt: skip
    pair = f"{display_name(plan, row.method)} \N{MINUS SIGN} {display_name(plan, row.reference)}"
    return Row(pair, cells, heading, f"{row.method.name} \N{MINUS SIGN} {row.reference.name}")


def _accuracy_cell(point: Point | None) -> Cell:
    if point is None:
        return Cell(NONE)
    tone = "shown" if point.loss.high < RELEVANT else ""
    lost = points(-point.loss.value)
    return interval(point.accuracy, percentage, tone=tone, small=f"{percent(point.compute, 0)}, {lost}")


def target_columns(plan: Plan) -> list[Column]:
    """A column for every target."""
    return [Column(target_name(target), at=key(target)) for target in plan.targets]


def _log(value: float) -> str:
    return f"{value:.3f}".replace("-", "\N{MINUS SIGN}")
