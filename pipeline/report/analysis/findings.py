"""All numbers of the report in one object: what verdicts, tables, figures and metrics.json are made of.

Computed once, so that a sentence and the table under it cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.analysis.accuracy import Comparison, Point, compare, operating_points
from pipeline.report.analysis.agreement import Composition, LabelAgreement, agreements, compositions
from pipeline.report.analysis.benefit_routers import BenefitRouterRow, benefit_router_rows
from pipeline.report.analysis.configurations import Configuration
from pipeline.report.analysis.evidence import Evidence, Outcome, evaluated_samples, outcomes, split_samples
from pipeline.report.analysis.gradient import GradientFindings, gradient_findings
from pipeline.report.analysis.latency import Latency, latency
from pipeline.report.analysis.pairs import Pairs, baseline_pairs, check_replicates, control_pairs, gain_pairs
from pipeline.report.analysis.perplexity import TextTask, text_tasks
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.ranking import primary, ranked
from pipeline.report.analysis.recovery import Recovery, recoveries
from pipeline.report.analysis.refit_variance import DrawSpread, RefitVariance, draw_spreads, refit_variance
from pipeline.report.analysis.resampling import resampler, task_resampler
from pipeline.report.analysis.routers import RegretRow, RouterRow, regret_rows, router_rows
from pipeline.report.analysis.specialisation import (
    PooledAllocation,
    Specialisation,
    pooled_allocations,
    specialisations,
)
from pipeline.report.analysis.task_differences import TaskComparison, task_comparisons
from pipeline.report.analysis.tasks import TaskRow, task_rows
from pipeline.report.analysis.variants import Variant, variants


@dataclass(frozen=True)
class Accuracies:
    """What was found about accuracy, on a number of samples.

    `gains` are comparisons with the pooled method of the same configuration, `differences` all others with the
    baseline, `controls` those with random groups of the same configuration (`pipeline/report/analysis/pairs.py`); every
    comparison carries the levels of its pair. `recoveries` say what pooled methods win back of what the baseline loses.
    `deciding` is the configuration that RQ2 is decided on, None where nothing can decide it.

    All of it is of the samples that can be right or wrong, and empty where there are none; `samples` counts the others,
    too.
    """

    samples: int
    points: list[Point]
    differences: list[Comparison]
    gains: list[Comparison]
    controls: list[Comparison]
    deciding: Configuration | None
    recoveries: list[Recovery]
    refit_variance: list[RefitVariance]
    draw_spreads: list[DrawSpread]
    regrets: list[RegretRow]
    tasks: list[TaskRow]
    task_differences: list[TaskComparison]


@dataclass(frozen=True)
class SplitFindings(Accuracies):
    """The numbers of one split: accuracies on the samples that every method was evaluated on, agreements and routers on
    all samples in the table. `texts` is of those that cannot be right or wrong.
    """

    split: str
    agreements: list[LabelAgreement]
    compositions: list[Composition]
    routers: list[RouterRow]
    texts: list[TextTask]


@dataclass(frozen=True)
class Primary:
    """The primary comparison: few methods at few targets on all test samples, `plan.methods` and `plan.targets`."""

    plan: Plan
    found: Accuracies

    def is_about(self, configuration: Configuration) -> bool:
        """Whether it compares a routed method of `configuration` with the pooled one."""
        return any(row.method.is_routed and row.reference == configuration.pooled for row in self.found.gains)


@dataclass(frozen=True)
class Findings:
    """All that was found; `splits` always holds `test`, of which `variants` and `benefit routers` are; `primary` is
    None where no method was evaluated on more samples than others; `costs` are tables.
    """

    splits: Mapping[str, SplitFindings]
    primary: Primary | None
    quality: Mapping[str, Any]
    variants: list[Variant]
    gradient: GradientFindings | None
    benefit_routers: list[BenefitRouterRow]
    specialisations: list[Specialisation]
    pooled: list[PooledAllocation]
    costs: Mapping[str, pd.DataFrame]
    latency: Latency

    @property
    def test(self) -> SplitFindings:
        """Only these answer the research questions: nothing was fitted on them."""
        return self.splits["test"]

    @property
    def answering(self) -> Accuracies:
        """What RQ2 is answered from: the primary comparison, if it is about the configuration that decides, else
        `test`."""
        configuration = self.test.deciding
        is_about = self.primary is not None and configuration is not None and self.primary.is_about(configuration)
        return self.primary.found if self.primary is not None and is_about else self.test

    @property
    def train(self) -> SplitFindings | None:
        """Leaks: profiles, clusters and routers were fitted on these samples."""
        return self.splits.get("train")


def find(plan: Plan, evidence: Evidence) -> Findings:
    """Compute everything.

    Raises:
        UserError: tables that do not fit together, or too few replicates for the number of comparisons.
    """
    check_replicates(plan)
    splits = {split: _find_split(plan, evidence, split) for split in plan.splits}
    return Findings(
        splits=splits,
        primary=_find_primary(plan, evidence),
        quality=evidence.quality,
        variants=variants(plan, evidence, "test"),
        gradient=gradient_findings(plan, evidence),
        benefit_routers=benefit_router_rows(plan, evidence),
        specialisations=specialisations(plan, evidence),
        pooled=pooled_allocations(plan, evidence),
        costs=evidence.costs,
        latency=latency(plan, evidence, splits["test"].points),
    )


def _find_split(plan: Plan, evidence: Evidence, split: str) -> SplitFindings:
    rows: pd.DataFrame = evaluated_samples(plan, evidence, split)
    results = outcomes(plan, evidence, split)
    return SplitFindings(
        split=split,
        agreements=agreements(plan, evidence, split),
        compositions=compositions(plan, evidence, split),
        routers=router_rows(plan, evidence, split, resampler(plan, len(split_samples(evidence, split)))),
        texts=text_tasks(plan, rows, results),
        **_accuracies(plan, rows, results),
    )


def _find_primary(plan: Plan, evidence: Evidence) -> Primary | None:
    part = plan.primary_part
    if part is None:
        return None
    rows: pd.DataFrame = evaluated_samples(part, evidence, "test")
    return Primary(part, Accuracies(**_accuracies(part, rows, outcomes(part, evidence, "test"))))


def _accuracies(plan: Plan, rows: pd.DataFrame, results: Mapping[str, Outcome]) -> dict[str, Any]:
    """The fields of `Accuracies`, from the samples that have one."""
    samples, is_scored = len(rows), (rows["kind"] != "text").to_numpy()
    rows = rows.loc[is_scored]
    results = {name: outcome.only(is_scored) for name, outcome in results.items()}
    if rows.empty:
        nothing = {one.name: [] for one in fields(Accuracies)}
        return {**nothing, "samples": samples, "deciding": None}
    tasks = rows["task"].to_numpy(dtype=np.str_)
    draws, task_draws = resampler(plan, len(rows)), task_resampler(plan, tasks)

    def compared(pairs: Pairs) -> list[Comparison]:
        return compare(plan, results, pairs, draws, task_draws)

    gains = [row for pairs in gain_pairs(plan) for row in compared(pairs)]
    deciding = primary(plan, results, gains)
    return {
        "samples": samples,
        "points": operating_points(plan, results, draws),
        "differences": compared(baseline_pairs(plan)),
        "gains": gains,
        "controls": [row for pairs in control_pairs(plan) for row in compared(pairs)],
        "deciding": deciding,
        "recoveries": recoveries(plan, results, draws),
        "refit_variance": refit_variance(plan, results),
        "draw_spreads": draw_spreads(plan, results),
        "regrets": regret_rows(plan, results, draws),
        "tasks": task_rows(plan, rows, results),
        "task_differences": task_comparisons(plan, tasks, results, _telling(plan, results, deciding, gains)),
    }


def _telling(
    plan: Plan, results: Mapping[str, Outcome], configuration: Configuration | None, gains: list[Comparison]
) -> Pairs:
    """The pairs that are compared task by task: routed against pooled where RQ2 is decided, and the two best pooled."""
    best = ranked(plan, results, [method for method in plan.sparse if method.is_pooled])[:2]
    routed = [(row.method, row.reference) for row in gains if configuration and row.method in configuration.routed]
    return routed + ([(best[0], best[1])] if len(best) == 2 else [])
