"""All numbers of the report in one object, computed once, so that a sentence and the table under it cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
import pandas as pd

from pipeline.protocol.confirmed import Confirmed
from pipeline.report.analysis.accuracy import Comparison, Point, compare, operating_points
from pipeline.report.analysis.agreement import Composition, LabelAgreement, agreements, compositions
from pipeline.report.analysis.benefit_routers import BenefitRouterRow, benefit_router_rows
from pipeline.report.analysis.block_sparsity import BlockSparsity, block_sparsities
from pipeline.report.analysis.configurations import Configuration
from pipeline.report.analysis.evidence import Evidence, Outcome, evaluated_samples, outcomes, split_samples
from pipeline.report.analysis.gradient import GradientFindings, gradient_findings
from pipeline.report.analysis.latency import Latency, latency
from pipeline.report.analysis.pairs import Pairs, baseline_pairs, check_replicates, control_pairs, gain_pairs
from pipeline.report.analysis.perplexity import TextTask, text_tasks
from pipeline.report.analysis.plan import Plan
from pipeline.report.analysis.ranking import primary, ranked
from pipeline.report.analysis.recovery import Recovery, recoveries
from pipeline.report.analysis.refit_variance import RefitVariance, refit_variance
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
    """Everything about accuracy, on one set of samples.

    `gains` are comparisons with the pooled method of the same configuration, `controls` those with random groups of the
    same configuration, `differences` all others with the baseline (`pipeline/report/analysis/pairs.py`). `deciding` is
    the configuration that RQ2 is decided on, None where nothing can decide it. All are of scored samples, and empty
    where there are none; `samples` counts text, too.
    """

    samples: int
    points: list[Point]
    differences: list[Comparison]
    gains: list[Comparison]
    controls: list[Comparison]
    deciding: Configuration | None
    recoveries: list[Recovery]
    refit_variance: list[RefitVariance]
    regrets: list[RegretRow]
    tasks: list[TaskRow]
    task_differences: list[TaskComparison]


@dataclass(frozen=True)
class HeldOutFindings(Accuracies):
    """The numbers of the test split: accuracies and, on text, perplexities (`texts`) on the samples that every method
    was evaluated on, agreements and routers on all samples of the split.
    """

    agreements: list[LabelAgreement]
    compositions: list[Composition]
    routers: list[RouterRow]
    texts: list[TextTask]


@dataclass(frozen=True)
class Primary:
    """The primary comparison: few methods at few targets on all test samples, `plan.methods` and `plan.targets`."""

    plan: Plan
    accuracies: Accuracies

    def is_about(self, configuration: Configuration) -> bool:
        """Whether it compares a routed method of `configuration` with the pooled one."""
        return any(row.method.is_routed and row.reference == configuration.pooled for row in self.accuracies.gains)


@dataclass(frozen=True)
class Findings:
    """All findings. `splits` always holds `test`, which `variants` and `benefit_routers` are about; `primary` is None
    where no method was evaluated on more samples than others; `costs` are tables; `confirmed` are of other
    samples.
    """

    splits: Mapping[str, Accuracies]
    primary: Primary | None
    quality: Mapping[str, Any]
    variants: list[Variant]
    gradient: GradientFindings | None
    benefit_routers: list[BenefitRouterRow]
    specialisations: list[Specialisation]
    pooled: list[PooledAllocation]
    block_sparsities: list[BlockSparsity]
    costs: Mapping[str, pd.DataFrame]
    latency: Latency
    confirmed: Confirmed | None

    @property
    def test(self) -> HeldOutFindings:
        """The split that answers the research questions: held out from every fit, looked at in every choice."""
        return cast(HeldOutFindings, self.splits["test"])

    @property
    def answering(self) -> Accuracies:
        """The accuracies that answer RQ2: the primary ones if they are about the deciding configuration, or `test`."""
        deciding, primary = self.test.deciding, self.primary
        return primary.accuracies if primary and deciding and primary.is_about(deciding) else self.test

    @property
    def deciding_gain(self) -> Comparison | None:
        """The gain that decides RQ2: of the first routed method, in the order of params.yaml, of the deciding
        configuration."""
        routed = self.test.deciding.routed if self.test.deciding else ()
        return next((row for row in self.answering.gains if row.method in routed), None)

    @property
    def best_pooled(self) -> Comparison | None:
        """The best other pooled method against the baseline, on the samples that answer."""
        rows = [row for row in self.answering.differences if row.method.is_pooled]
        return max(rows, key=lambda row: row.mean.value, default=None)


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
        block_sparsities=block_sparsities(plan, evidence),
        costs=evidence.costs,
        latency=latency(plan, evidence, splits["test"].points),
        confirmed=evidence.confirmed,
    )


def _find_split(plan: Plan, evidence: Evidence, split: str) -> Accuracies:
    samples, results = evaluated_samples(plan, evidence, split), outcomes(plan, evidence, split)
    accuracies = _accuracies(plan, evidence, samples, results)
    if split != "test":
        return Accuracies(**accuracies)
    return HeldOutFindings(
        agreements=agreements(plan, evidence, split),
        compositions=compositions(plan, evidence, split),
        routers=router_rows(plan, evidence, split, resampler(plan, len(split_samples(evidence, split)))),
        texts=text_tasks(plan, samples, results),
        **accuracies,
    )


def _find_primary(plan: Plan, evidence: Evidence) -> Primary | None:
    part = plan.primary_part
    if part is None:
        return None
    samples = evaluated_samples(part, evidence, "test")
    return Primary(part, Accuracies(**_accuracies(part, evidence, samples, outcomes(part, evidence, "test"))))


def _accuracies(
    plan: Plan, evidence: Evidence, samples: pd.DataFrame, results: Mapping[str, Outcome]
) -> dict[str, Any]:
    """The fields of `Accuracies`; lists are empty without scored samples."""
    is_scored = (samples["kind"] != "text").to_numpy()
    scored: pd.DataFrame = samples.loc[is_scored]
    if scored.empty:
        return {field.name: [] for field in fields(Accuracies)} | {"samples": len(samples), "deciding": None}
    results = {name: outcome.only(is_scored) for name, outcome in results.items()}
    tasks = scored["task"].to_numpy(dtype=np.str_)
    draws, task_draws = resampler(plan, len(scored)), task_resampler(plan, tasks)

    def compared(pairs: Pairs) -> list[Comparison]:
        return compare(plan, results, pairs, draws, task_draws)

    gains = [row for pairs in gain_pairs(plan) for row in compared(pairs)]
    deciding = primary(plan, results, gains)
    return {
        "samples": len(samples),
        "points": operating_points(plan, results, draws),
        "differences": compared(baseline_pairs(plan)),
        "gains": gains,
        "controls": [row for pairs in control_pairs(plan) for row in compared(pairs)],
        "deciding": deciding,
        "recoveries": recoveries(plan, results, draws),
        "refit_variance": refit_variance(plan, results),
        "regrets": regret_rows(plan, evidence, results, scored.index, draws),
        "tasks": task_rows(plan, scored, results),
        "task_differences": task_comparisons(plan, tasks, results, _task_pairs(plan, results, deciding, gains)),
    }


def _task_pairs(
    plan: Plan, results: Mapping[str, Outcome], deciding: Configuration | None, gains: list[Comparison]
) -> Pairs:
    """The pairs that are compared task by task: routed against pooled where RQ2 is decided, and the two best pooled."""
    best = ranked(plan, results, [method for method in plan.sparse if method.is_pooled])[:2]
    routed = [(row.method, row.reference) for row in gains if deciding and row.method in deciding.routed]
    return routed + ([(best[0], best[1])] if len(best) == 2 else [])
