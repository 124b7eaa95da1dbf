"""RQ1's and RQ3's tables: agreement of groups with labels, composition of groups, routers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.report.analysis.agreement import Composition, LabelAgreement
from pipeline.report.analysis.benefit_routers import BenefitRouterRow
from pipeline.report.analysis.findings import Accuracies, Findings
from pipeline.report.analysis.labels import Label
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.routers import RouterRow
from pipeline.report.analysis.variants import VariantLabel, by_block, without_length
from pipeline.report.page.cells import difference, figure, heat, interval, percentage, percents, plain, sign_tone
from pipeline.report.page.profile_tables import target_columns
from pipeline.report.page.table import Cell, Column, Row, Table
from pipeline.report.text.wording import number, p_value, quantity
from pipeline.statistics.bootstrap import Interval


def agreement_table(plan: Plan, findings: Findings) -> Table:
    """Agreement of the groups with every label, beside random groups, and the same NMI at like prompt length."""
    variant = without_length(findings.variants)
    removed = {row.label.name: row.agreement.nmi.value for row in variant.rows} if variant else {}
    rows = [
        Row(row.label.title, [
            plain(len(row.label.values)), interval(row.agreement.nmi), interval(row.agreement.ari),
            interval(row.agreement.purity),
            figure(row.p_corrected, p_value, tone="shown" if row.p_corrected < plan.alpha else ""),
            figure(row.chance.nmi.value if row.chance else None),
            figure(row.determined, lambda value: percentage(value, 0)),
            figure(row.within_length), figure(removed.get(row.label.name)),
        ])
        for row in findings.agreements
    ]  # fmt: skip
    titles = ("values", "NMI", "ARI", "purity", "p, corrected", "NMI of random groups", "group determined by it, %",
              "NMI at like length", "NMI, length removed")  # fmt: skip
    note = (
        "NMI is never negative, so a label that groups do not follow has a small positive value: compare it with "
        "random groups. Length removed: clusters of signatures after regressing out log prompt length."
    )
    return Table("Agreement of the groups with every label", "label", [*map(Column, titles)], rows, note)


def variant_table(plan: Plan, findings: Findings) -> Table:
    """NMI of every label with the groups of each block alone, and how reproducible these are."""
    blocks = by_block(findings.variants)

    def cell(row: LabelAgreement | VariantLabel) -> Cell:
        nmi = row.agreement.nmi.value
        return heat(number(nmi), nmi if row.p_corrected < plan.alpha else 0.0, nmi)

    rows = [
        Row(row.label.title, [cell(row), *(cell(block.row(row.label.name)) for block in blocks)])
        for row in findings.agreements
    ]
    stability = [findings.quality.get("stability"), *(block.stability for block in blocks)]
    rows.append(Row("ARI of two halves", [figure(value) for value in stability]))
    columns = [Column("all blocks"), *(Column(f"block {block.block}") for block in blocks)]
    note = "NMI with clusters of one block's signatures. Shaded where p is below the level, corrected for labels."
    return Table("Agreement block by block", "label", columns, rows, note, is_heat=True)


def entanglement_table(labels: Sequence[Label], pairs: np.ndarray) -> Table:
    """NMI of every pair of labels."""
    rows = [
        Row(label.title, [heat("" if i == j else number(value), 0.0 if i == j else value, value)
                          for j, value in enumerate(map(float, pairs[i]))])
        for i, label in enumerate(labels)
    ]  # fmt: skip
    note = "NMI of pairs of labels: groups that follow one of two entangled labels follow the other."
    columns = [Column(label.title) for label in labels]
    return Table("Are the labels independent of each other?", "label", columns, rows, note, is_heat=True)


def composition_table(composition: Composition, groups: str = "Groups") -> Table:
    """Every group (columns) by the values of one label (rows), in percent of the group's samples."""
    sizes = composition.counts.sum(axis=1)
    fractions = composition.counts / np.maximum(sizes[:, None], 1)
    rows = [
        Row(value, [heat(f"{100 * part:.0f}", part, part) for part in map(float, fractions[:, i])])
        for i, value in enumerate(composition.label.values)
    ]
    columns = [Column(f"{group} ({size:,})") for group, size in enumerate(sizes)]
    caption = f"{groups} by {composition.label.title}, % of a group's samples"
    return Table(caption, composition.label.title, columns, rows, is_heat=True)


def gain_table(quality: Mapping[str, Any]) -> Table:
    """Gains of numbers of gradient clusters, and of other groups of the same samples, measured on held-out train texts
    (`pipeline/grouping/gradient_clusters.py`). They have no meaningful unit, so they are only compared with each other.
    """
    chosen = quality["groups"]
    gains = [
        (f"{row['count']} gradient clusters", row, row["count"] == chosen) for row in quality["gains"]
    ] + [(f"groups by {name}", row, False) for name, row in quality["schemes"].items()]  # fmt: skip
    rows = [
        Row(
            name,
            [Cell(number(row["mean"], 3), row["mean"], f"± {number(row['error'], 3)}", "shown" if is_chosen else "")],
        )
        for name, row, is_chosen in gains
    ]
    note = "Gain on held-out training texts, without a unit. Bold: the smallest number within an error of the best."
    return Table(
        "Gradient clusters: how many, and against other groups", "groups", [Column("held-out gain")], rows, note
    )


def router_table(findings: Findings) -> Table:
    """Accuracy and cost of every router."""
    rows = [
        Row(row.router, [
            percents(row.accuracy), figure(row.largest, percentage), percents(row.new_task), percents(row.new_template),
            *_cost(row),
        ])
        for row in findings.routers
    ]  # fmt: skip
    titles = ("accuracy, %", "always the largest group, %", "unseen task, %", "unseen template, %", "FLOPs a prompt",
              "% of dense")  # fmt: skip
    note = (
        "Percent of prompts sent to their group. Unseen: fitted without the training samples of that task or template."
    )
    return Table("Routers", "router", [*map(Column, titles)], rows, note)


def benefit_table(rows: Sequence[BenefitRouterRow]) -> Table:
    """Abstention, benefit and cost of every benefit router."""
    body = [
        Row(row.router, [
            percents(row.abstained),
            *map(_benefit, (row.benefit, row.own, row.constant, row.new_task, row.new_template)), *_cost(row),
        ])
        for row in rows
    ]  # fmt: skip
    titles = ("left to pooled, %", "benefit of its choices", "own groups", "best single choice", "unseen task",
              "unseen template", "FLOPs a prompt", "% of dense")  # fmt: skip
    note = "Benefit: mean log of the factor by which the divergence from dense shrinks against pooled. Bold: not zero."
    return Table("Benefit routers", "benefit router", [*map(Column, titles)], body, note)


def regret_table(accuracies: Accuracies) -> Table:
    """Accuracy with known groups minus accuracy with routed groups."""
    rows = [
        Row(row.method.name, [figure(row.elsewhere, percentage), difference(row.mean, good=-1),
                              *(difference(gap, good=-1) for gap in row.at_targets)])
        for row in accuracies.regrets
    ]  # fmt: skip
    columns = [Column("sent elsewhere, %"), Column("mean"), *target_columns(accuracies.plan)]
    note = (
        "Where every prompt is sent to its group, routed and known groups are the same run. A dash: known groups were "
        "not run; at most the fraction that was sent elsewhere can be lost."
    )
    caption = f"Regret: known groups minus routed groups, points, on {accuracies.samples:,} samples"
    return Table(caption, "method", columns, rows, note)


def _cost(row: RouterRow | BenefitRouterRow) -> list[Cell]:
    """FLOPs per prompt, and percent of the dense model's."""
    return [figure(row.flops, quantity), figure(100 * row.fraction, lambda value: f"{value:.3g}")]


def _benefit(of: Interval | None) -> Cell:
    return interval(of, lambda value: number(value, 3), tone=sign_tone(of, 1) if of else "")
