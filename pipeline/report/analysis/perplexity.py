"""Perplexity on text, task by task: samples that are scored by likelihood and have no accuracy.

For samples i with log-likelihood l_i of n_i tokens the perplexity is `exp(-sum l_i / sum n_i)`, a mean over tokens and
not over samples. Bootstrap replicates resample samples, so numerator and denominator vary together, with the same draws
for all methods: differences of log-perplexity (nats per token; 0.01 is about 1% of perplexity) are paired.

Methods are compared at equal TARGETS, not at matched compute, so the realised sparsity and the compute of the same
samples stand beside every number. Tasks are kept apart: the mean over two corpora means little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.plan import Method, Plan
from pipeline.report.analysis.resampling import Resampler, resampler
from pipeline.statistics.bootstrap import Interval


@dataclass(frozen=True)
class TextPoint:
    """One method at one target on one text task.

    `over_dense` and `over_baseline` are differences of log-perplexity (positive is worse), the latter from the baseline
    at the same target; None for the method itself, and over the baseline for the dense model.
    """

    method: Method
    target: float
    perplexity: Interval
    over_dense: Interval | None
    over_baseline: Interval | None
    sparsity: float
    compute: float


@dataclass(frozen=True)
class TextTask:
    """One text task on one split."""

    task: str
    samples: int
    tokens: int
    points: list[TextPoint]


def text_tasks(plan: Plan, samples: pd.DataFrame, results: Mapping[str, Outcome]) -> list[TextTask]:
    """One entry per task with text samples, in alphabetical order; `samples` are in the outcomes' order."""
    is_text = (samples["kind"] == "text").to_numpy()
    names = samples["task"].to_numpy(dtype=np.str_)
    lengths = np.array([len(tokens) for tokens in samples["answer_ids"]], np.float64)
    tasks: list[TextTask] = []
    for task in np.unique(names[is_text]):
        chosen = is_text & (names == task)
        own, count = {name: outcome.only(chosen) for name, outcome in results.items()}, int(chosen.sum())
        points = _points(plan, own, lengths[chosen], resampler(plan, count))
        tasks.append(TextTask(str(task), count, int(lengths[chosen].sum()), points))
    return tasks


def _points(
    plan: Plan, results: Mapping[str, Outcome], lengths: Float[np.ndarray, " samples"], draws: Resampler
) -> list[TextPoint]:
    per_token = draws.weights @ lengths
    logs = {name: -(draws.weights @ outcome.loglikelihood.T) / per_token[:, None] for name, outcome in results.items()}
    dense, baseline = logs[plan.dense.name][:, 0], logs[plan.baseline]
    points: list[TextPoint] = []
    for method in plan.methods:
        outcome = results[method.name]
        for i, target in enumerate(outcome.targets):
            own = logs[method.name][:, i]
            is_compared = not method.is_dense and method.name != plan.baseline
            points.append(
                TextPoint(
                    method,
                    float(target),
                    perplexity=_exp(draws.interval(own)),
                    over_dense=None if method.is_dense else draws.interval(own - dense),
                    over_baseline=draws.interval(own - baseline[:, i]) if is_compared else None,
                    sparsity=float(outcome.sparsity[i].mean()),
                    compute=float(outcome.compute[i].mean()),
                )
            )
    return points


def _exp(interval: Interval) -> Interval:
    return Interval(*(float(np.exp(value)) for value in (interval.value, interval.low, interval.high)))
