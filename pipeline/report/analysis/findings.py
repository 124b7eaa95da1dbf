"""The numbers that several places of the report show, in one object, computed once: a sentence and the table under it
cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.protocol.confirmed import Confirmed
from pipeline.report.analysis.accuracy import Comparison, Point, compare, operating_points
from pipeline.report.analysis.agreement import LabelAgreement, agreements
from pipeline.report.analysis.benefit_routers import BenefitRouterRow, benefit_router_rows
from pipeline.report.analysis.block_sparsity import BlockSparsity, block_sparsities
from pipeline.report.analysis.configurations import Configuration
from pipeline.report.analysis.evidence import Evidence, Outcome, evaluated_samples, outcomes
from pipeline.report.analysis.latency import Latency, latency
from pipeline.report.analysis.pairs import Pairs, baseline_pairs, check_replicates, control_pairs, gain_pairs
from pipeline.report.analysis.perplexity import TextTask, text_tasks
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.ranking import primary, ranked
from pipeline.report.analysis.recovery import Recovery, recoveries
from pipeline.report.analysis.refit_variance import Scale, refit_variance
from pipeline.report.analysis.resampling import resampler, task_resampler
from pipeline.report.analysis.routers import RegretRow, RouterRow, regret_rows, router_rows
from pipeline.report.analysis.task_differences import TaskComparison, task_comparisons
from pipeline.report.analysis.tasks import TaskRow, task_rows
from pipeline.report.analysis.variants import Variant, variants


@dataclass(frozen=True)
class Accuracies:
    """Everything about accuracy and perplexity, on one set of samples, at the targets and for the methods of `plan`.

    `texts` are of text, everything below of scored samples, and empty where there are none; `samples` counts both.
    `gains` are comparisons with the pooled method of the same configuration, `controls` those with random groups of the
    same configuration, `differences` all others with the baseline (`pipeline/report/analysis/pairs.py`). `deciding` is
    the configuration that RQ2 is decided on, None where nothing can decide it.
    """

    plan: Plan
    samples: int
    texts: Sequence[TextTask]
    points: Sequence[Point] = ()
    differences: Sequence[Comparison] = ()
    gains: Sequence[Comparison] = ()
    controls: Sequence[Comparison] = ()
    deciding: Configuration | None = None
    recoveries: Sequence[Recovery] = ()
    refit_variance: Mapping[Method, Scale] = field(default_factory=dict)
    regrets: Sequence[RegretRow] = ()
    tasks: Sequence[TaskRow] = ()
    task_differences: Sequence[TaskComparison] = ()


@dataclass(frozen=True)
class Findings:
    """Accuracies of every split that was evaluated (`splits`, always with `test`) and of the primary comparison, few
    methods at few targets on all test samples (None where no method was evaluated on more samples than others); all
    else is of test samples.
    """

    splits: Mapping[str, Accuracies]
    primary: Accuracies | None
    quality: Mapping[str, Any]
    agreements: Sequence[LabelAgreement]
    variants: Sequence[Variant]
    routers: Sequence[RouterRow]
    benefit_routers: Sequence[BenefitRouterRow]
    block_sparsities: Sequence[BlockSparsity]
    latency: Latency
    confirmed: Confirmed | None

    @property
    def test(self) -> Accuracies:
        """The split that answers the research questions: held out from every fit, looked at in every choice."""
        return self.splits["test"]

    @property
    def answering(self) -> Accuracies:
        """The accuracies that answer RQ2: the primary ones if they compare a routed method of the deciding
        configuration with the pooled one, or `test`."""
        deciding, primary = self.test.deciding, self.primary
        if primary is None or deciding is None:
            return self.test
        is_about = any(row.method.is_routed and row.reference == deciding.pooled for row in primary.gains)
        return primary if is_about else self.test

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
    splits = {split: _accuracies(plan, evidence, split) for split in plan.splits}
    return Findings(
        splits=splits,
        primary=None if plan.primary_part is None else _accuracies(plan.primary_part, evidence, "test"),
        quality=evidence.quality,
        agreements=agreements(plan, evidence),
        variants=variants(plan, evidence),
        routers=router_rows(plan, evidence),
        benefit_routers=benefit_router_rows(plan, evidence),
        block_sparsities=block_sparsities(plan, evidence),
        latency=latency(plan, evidence, splits["test"].points),
        confirmed=evidence.confirmed,
    )


def _accuracies(plan: Plan, evidence: Evidence, split: str) -> Accuracies:
    samples, results = evaluated_samples(plan, evidence, split), outcomes(plan, evidence, split)
    texts = text_tasks(plan, samples, results)
    is_scored = (samples["kind"] != "text").to_numpy()
    if not is_scored.any():
        return Accuracies(plan, len(samples), texts)
    scored, results = samples.loc[is_scored], {name: outcome.only(is_scored) for name, outcome in results.items()}
    tasks = scored["task"].to_numpy(dtype=np.str_)
    draws, task_draws = resampler(plan, len(scored)), task_resampler(plan, tasks)

    def compared(pairs: Pairs) -> list[Comparison]:
        return compare(plan, results, pairs, draws, task_draws)

    gains = [row for pairs in gain_pairs(plan) for row in compared(pairs)]
    deciding = primary(plan, results, gains)
    return Accuracies(
        plan,
        len(samples),
        texts,
        points=operating_points(plan, results, draws),
        differences=compared(baseline_pairs(plan)),
        gains=gains,
        controls=[row for pairs in control_pairs(plan) for row in compared(pairs)],
        deciding=deciding,
        recoveries=recoveries(plan, results, draws),
        refit_variance=refit_variance(plan, results),
        regrets=regret_rows(plan, evidence, results, scored.index, draws),
        tasks=task_rows(plan, scored, results),
        task_differences=task_comparisons(plan, tasks, results, _task_pairs(plan, results, deciding, gains)),
    )


def _task_pairs(
    plan: Plan, results: Mapping[str, Outcome], deciding: Configuration | None, gains: list[Comparison]
) -> Pairs:
    """The pairs that are compared task by task: routed against pooled where RQ2 is decided, and the two best pooled."""
    best = ranked(plan, results, [method for method in plan.sparse if method.is_pooled])[:2]
    routed = [(row.method, row.reference) for row in gains if deciding and row.method in deciding.routed]
    return routed + ([(best[0], best[1])] if len(best) == 2 else [])
