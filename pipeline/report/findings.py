"""All numbers of the report in one object: what verdicts, tables, figures and metrics.json are made of.

Computed once, so that a sentence and the table under it cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.report.accuracy import Comparison, Point, baseline_pairs, compare, control_pairs, levels, operating_points
from pipeline.report.agreement import Composition, LabelAgreement, agreements, compositions
from pipeline.report.evidence import Evidence, Outcome, outcomes, split_samples
from pipeline.report.perplexity import TextTask, text_tasks
from pipeline.report.plan import Plan
from pipeline.report.resampling import resampler
from pipeline.report.routers import RegretRow, RouterRow, regret_rows, router_rows
from pipeline.report.specialisation import Specialisation, specialisations
from pipeline.report.tasks import TaskRow, task_rows


@dataclass(frozen=True)
class SplitFindings:
    """The numbers of one split; `levels` are the savings at which `differences` and `controls` were read.

    Everything about accuracy (`points`, `levels`, `differences`, `controls`, `regrets`, `tasks`) is of the samples that
    can be right or wrong, and empty where there are none; `texts` is of the others.
    """

    split: str
    samples: int
    points: list[Point]
    levels: tuple[float, ...]
    differences: list[Comparison]
    controls: list[Comparison]
    agreements: list[LabelAgreement]
    compositions: list[Composition]
    routers: list[RouterRow]
    regrets: list[RegretRow]
    tasks: list[TaskRow]
    texts: list[TextTask]


@dataclass(frozen=True)
class Findings:
    """Everything that was found; `splits` always holds `test`."""

    splits: Mapping[str, SplitFindings]
    quality: Mapping[str, Any]
    specialisations: list[Specialisation]

    @property
    def test(self) -> SplitFindings:
        """Only these answer the research questions: nothing was fitted on them."""
        return self.splits["test"]

    @property
    def train(self) -> SplitFindings | None:
        """Leaks: profiles, clusters and routers were fitted on these samples."""
        return self.splits.get("train")


def find(plan: Plan, evidence: Evidence) -> Findings:
    """Compute everything."""
    splits = {split: _find_split(plan, evidence, split) for split in plan.splits}
    return Findings(splits, evidence.quality, specialisations(plan, evidence))


def _find_split(plan: Plan, evidence: Evidence, split: str) -> SplitFindings:
    rows: pd.DataFrame = split_samples(evidence, split)
    results = outcomes(plan, evidence, split)
    is_scored = (rows["kind"] != "text").to_numpy()
    return SplitFindings(
        split=split,
        samples=len(rows),
        agreements=agreements(plan, evidence, split),
        compositions=compositions(plan, evidence, split),
        routers=router_rows(plan, evidence, split, resampler(plan, len(rows))),
        texts=text_tasks(plan, rows, results),
        **_accuracies(plan, rows.loc[is_scored], {name: outcome.only(is_scored) for name, outcome in results.items()}),
    )


def _accuracies(plan: Plan, rows: pd.DataFrame, results: Mapping[str, Outcome]) -> dict[str, Any]:
    """The fields about accuracy, from the samples that have one."""
    if rows.empty:
        return {"points": [], "levels": (), "differences": [], "controls": [], "regrets": [], "tasks": []}
    draws = resampler(plan, len(rows))
    return {
        "points": operating_points(plan, results, draws),
        "levels": levels(plan, results),
        "differences": compare(plan, results, baseline_pairs(plan), draws),
        "controls": compare(plan, results, control_pairs(plan), draws),
        "regrets": regret_rows(plan, results, draws),
        "tasks": task_rows(plan, rows, results),
    }
