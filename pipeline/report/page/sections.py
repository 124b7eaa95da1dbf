"""The sections of the page in the order of its questions, RQ2 first, and the appendix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.agreement import compositions, entanglement
from pipeline.report.analysis.evidence import Evidence, total
from pipeline.report.analysis.findings import Accuracies, Findings
from pipeline.report.analysis.pairs import is_literal
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.recovery import Recovery
from pipeline.report.analysis.specialisation import pooled_allocations, specialisations
from pipeline.report.analysis.task_differences import TaskComparison
from pipeline.report.page import figures, group_tables, profile_tables
from pipeline.report.page.cells import plain
from pipeline.report.page.figures import MEAN, Looks, Mark, key
from pipeline.report.page.latency_figure import latency
from pipeline.report.page.latency_tables import speedup_table, timing_table
from pipeline.report.page.parts import Fold, Part, Section
from pipeline.report.page.sparsity_figure import sparsity
from pipeline.report.page.svg import Figure
from pipeline.report.page.table import Column, Row, Table
from pipeline.report.text.latency import machine_sentences, not_timed
from pipeline.report.text.names import describe, display_name, role
from pipeline.report.text.rules import rules
from pipeline.report.text.wording import compute_range, listed, percent_interval, target_name
from wina_amp.names import ACTIVATION, GRADIENT

COUNTED = {
    "too_long": "Left out because they are longer than the model's context",
    "in_both_splits": "Questions that stand in the train and in the test split",
    "contradicting": "Questions that are asked elsewhere with another right answer",
}
"""Columns of SAMPLE_COUNTS -> what is counted."""


def sections(
    plan: Plan, evidence: Evidence, findings: Findings, style: Looks, drawn_map: Figure | None
) -> list[Section]:
    """All sections; those without anything to show say so."""
    return [
        Section("rq2", "Profiles", "RQ2 · Do profiles of groups beat the pooled profile?", _profiles(plan, findings)),
        Section("rq1", "Groups", "RQ1 · Do inputs cluster by activation pattern?",
                _groups(plan, evidence, findings, drawn_map)),
        Section("rq3", "Routing", "RQ3 · How can a new prompt be routed?", _routing(findings)),
        Section("rq4", "Trade-off", "RQ4 · What does it save?", _tradeoff(plan, findings, style)),
        Section("appendix", "Appendix", "Appendix", _appendix(plan, evidence, findings, style)),
    ]  # fmt: skip


def _profiles(plan: Plan, findings: Findings) -> list[Part]:
    if not findings.test.points:
        texts = [profile_tables.perplexity_table(plan, task) for task in findings.test.texts]
        return ["No test sample has a right answer, so there are no accuracies; text has a perplexity.", *texts]
    answering = findings.answering
    parts: list[Part] = [
        "Methods of one configuration (criterion, allocation, mask) differ in their groups only. Two methods are "
        "compared where both realise the same FLOPs, router and scoring counted; the first row is the question as it "
        "was asked, WINA's profiles per cluster against WINA's pooled one.",
        *_literal(findings),
    ]
    own = answering.plan
    marks = [_mark(own, row, "pooled") for row in sorted(answering.gains, key=lambda row: not is_literal(row.method))]
    marks += [_mark(own, row, display_name(own, row.reference)) for row in answering.differences]
    if marks:
        caption = "Points of accuracy at matched compute, mean over targets or at the chosen one; coloured: claimed."
        parts.append(profile_tables.differences(answering, f"Differences on {answering.samples:,} samples"))
        parts.append(figures.forest(marks, "differences", "Differences at matched compute", caption))
    parts += [f"Gap recovered by {text}" for text in _recovered(answering)]
    for comparison in answering.task_differences[:1]:
        parts.append(_task_forest(own, comparison))
    return parts


def _literal(findings: Findings) -> list[Part]:
    """The question as it was asked, on the samples of all methods, where it is not among the answering comparisons."""
    test = findings.test
    rows = [row for row in test.gains if is_literal(row.method)]
    if not rows or any(is_literal(row.method) for row in findings.answering.gains):
        return []
    controls = [row for row in test.controls if is_literal(row.method)]
    part = replace(test, gains=rows, controls=controls, differences=[])
    return [profile_tables.differences(part, f"WINA per cluster minus WINA pooled, on {test.samples:,} samples")]


def _mark(plan: Plan, row: Comparison, reference: str) -> Mark:
    at_targets = {key(target): gap for target, gap in zip(plan.targets, row.at_targets, strict=True)}
    name = f"{display_name(plan, row.method)} \N{MINUS SIGN} {reference}"
    return Mark(name, {MEAN: row.mean, **at_targets}, row.is_claimed(plan.alpha))


def _task_forest(plan: Plan, comparison: TaskComparison) -> Figure:
    marks = [Mark(row.task, {MEAN: row.gap}, row.p_corrected < plan.alpha) for row in reversed(comparison.rows)]
    pair = f"{display_name(plan, comparison.method)} \N{MINUS SIGN} {display_name(plan, comparison.reference)}"
    caption = (
        f"{pair}, task by task: points of accuracy at {compute_range(comparison.savings)} of the dense FLOPs, mean "
        f"over targets, {len(marks)} tasks; coloured: shown after correction for their number."
    )
    return figures.forest(marks, f"tasks_{comparison.method.name}", f"{pair}, task by task", caption)


def _recovered(accuracies: Accuracies) -> list[str]:
    """The fraction of the baseline's loss that better pooled methods avoid, target by target."""
    plan = accuracies.plan
    baseline = display_name(plan, plan.method(plan.baseline))

    def shown(row: Recovery) -> str:
        parts = zip(plan.targets, row.fractions, strict=True)
        values = listed([f"{percent_interval(part)} at {target_name(at)}" for at, part in parts if part])
        name = display_name(plan, row.method)
        return f"{name} (the fraction of what {baseline} loses against dense): {values}."

    rows = [row for row in accuracies.recoveries if any(part and part.value > 0 for part in row.fractions)]
    return [shown(row) for row in rows]


def _groups(plan: Plan, evidence: Evidence, findings: Findings, drawn_map: Figure | None) -> list[Part]:
    if drawn_map is None or not findings.agreements:
        return ["No groups were learned in this run."]
    ranked = [row.label.name for row in findings.agreements]
    of_labels = sorted(compositions(evidence, ACTIVATION), key=lambda item: ranked.index(item.label.name))
    parts: list[Part] = [
        "A sample's signature says which features of every block fire on its prompt. Groups are clusters of the "
        "signatures of training samples; the fitted clustering assigns all others. Neighbours on the map (UMAP) are "
        "alike; distances between heaps mean little.",
        drawn_map,
        figures.agreement(findings.agreements, "agreement"),
        Fold("Agreement with every label, in numbers", [group_tables.agreement_table(plan, findings)]),
        Fold("What the groups consist of", [group_tables.composition_table(item) for item in of_labels[:3]]),
    ]
    if findings.variants:
        parts.append(Fold("Agreement block by block", [group_tables.variant_table(plan, findings)]))
    labels, pairs = entanglement(evidence)
    parts.append(Fold("Are the labels independent of each other?", [group_tables.entanglement_table(labels, pairs)]))
    if evidence.gradient:
        own = [item for item in compositions(evidence, GRADIENT) if item.label.name in ranked[:2]]
        tables = [group_tables.composition_table(item, "Gradient clusters") for item in own]
        tables = [group_tables.gain_table(evidence.gradient), *tables]
        parts.append(Fold("Gradient clusters", tables))
    return parts


def _routing(findings: Findings) -> list[Part]:
    parts: list[Part] = []
    if findings.routers:
        parts.append(group_tables.router_table(findings))
    if findings.answering.regrets:
        parts.append(group_tables.regret_table(findings.answering))
    if findings.benefit_routers:
        parts.append(group_tables.benefit_table(findings.benefit_routers))
    return parts or ["No router was fitted in this run."]


def _tradeoff(plan: Plan, findings: Findings, style: Looks) -> list[Part]:
    timings = findings.latency
    parts: list[Part] = []
    if timings.reason is not None:
        parts.append(not_timed(timings))
    else:
        parts += machine_sentences(timings)[:1]
        drawable = [cell for cell in timings.cells if cell.dense is not None and any(t.point for t in cell.timings)]
        drawn = [latency(plan, cell, style, f"latency_{cell.batch}_{cell.context}") for cell in drawable]
        parts += [*drawn[:1], *(speedup_table(plan, cell) for cell in timings.cells[:1])]
        more: list[Part] = [*machine_sentences(timings)[1:], *drawn[1:]]
        more += [speedup_table(plan, cell) for cell in timings.cells[1:]]
        parts.append(Fold("How it was timed; other batches and contexts", [*more, timing_table(timings.cells)]))
    parts += [f"`{name}` cannot decode sparse: {reason}." for name, reason in timings.facts.get("skipped", {}).items()]
    if findings.test.points:
        parts.append(profile_tables.accuracy_table(findings.test))
    return parts


def _appendix(plan: Plan, evidence: Evidence, findings: Findings, style: Looks) -> list[Part]:
    test = findings.test
    parts: list[Part] = [*left_out(evidence.sample_counts)]
    if test.points:
        if test.texts:
            parts.append(
                Fold("Perplexity on text", [profile_tables.perplexity_table(plan, task) for task in test.texts])
            )
        if findings.answering is not test:
            caption = f"Differences on the {test.samples:,} samples that every method was evaluated on"
            parts.append(Fold(caption, [profile_tables.differences(test, caption)]))
        tasks = [profile_tables.task_table(plan, test.tasks, i) for i in range(len(plan.targets))]
        answering = findings.answering
        more = [_task_forest(answering.plan, item) for item in answering.task_differences[1:]]
        parts.append(Fold("Task by task", [*more, *tasks]))
        drawn = sparsity(plan, findings.block_sparsities, figures.featured(plan, findings), style)
        parts.append(Fold("Realised sparsity", [drawn, profile_tables.sparsity_table(test)]))
    shifted = specialisations(plan, evidence)
    shifts = [profile_tables.shift_table(shifted)] if shifted else []
    allocations = [profile_tables.pooled_table(row) for row in pooled_allocations(plan, evidence) if not row.is_flat]
    if allocations or shifts:
        parts.append(Fold("Allocations", [*shifts, *allocations]))
    if any(total(table, "tokens") for table in evidence.costs.values()):
        parts.append(Fold("Cost of finding the allocations", [profile_tables.cost_table(plan, evidence.costs)]))
    rows = [
        Row(method.name, [plain(display_name(plan, method)), plain(role(plan, method)), plain(method.profile),
                          plain(describe(plan, method))])
        for method in plan.methods
    ]  # fmt: skip
    columns = [Column(title, is_text=True) for title in ("name", "role", "profile set", "description")]
    parts.append(Fold("Methods", [Table("Methods", "id", columns, rows)]))
    parts.append(Fold("Rules by which answers are decided", rules(plan)))
    return parts


def left_out(counts: pd.DataFrame) -> list[str]:
    """Samples that stage `prepare` left out, tasks with fewer items than were asked for, and questions asked twice."""
    few = {"Fewer items than asked for": [f"{row.taken:,} of {row.wanted:,} for {_of(row)}" for row in _rows(counts)
                                          if row.taken < row.wanted]}  # fmt: skip
    more = {fact: [f"{getattr(row, column):,} of {_of(row)}" for row in _rows(counts) if getattr(row, column)]
            for column, fact in COUNTED.items()}  # fmt: skip
    return [f"{fact}: {listed(named)}." for fact, named in {**few, **more}.items() if named]


def _rows(counts: Any) -> Any:
    return counts.itertuples(index=False)


def _of(row: Any) -> str:
    return f"`{row.task}` ({row.split})"
