"""Which configuration decides RQ2: the one whose pooled method is best, of those that have routed groups.

Groups that help a weak profile may only repair what a better pooled profile repairs without them. The ranking looks at
pooled methods alone, so it does not favour configurations whose groups gained by chance.

An order needs one scale, so here levels are common to the methods that are put in order, and not those of pairs: two
differences from the baseline, each read at the levels of its own pair, are of different compute, and a method whose
pair reaches further would look better or worse for that alone. The fault of common levels, that one method moves all of
them, is kept out by asking only those that can be chosen: no router runs in a pooled method, and a pooled method
without routed groups has no say in which configuration decides.

At a target that only some methods have, those are compared. A method that has fewer levels stands behind those that
have more, because its mean is over easier ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.configurations import Configuration, configurations
from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import levels, plain_reader
from pipeline.report.analysis.plan import Method, Plan


def ranked(plan: Plan, results: Mapping[str, Outcome], methods: Sequence[Method]) -> list[Method]:
    """`methods`, best first: by the number of their levels, then by mean accuracy at levels common to `methods`."""
    own = {method: levels(plan, results, (method,)) for method in methods}
    reader = plain_reader(plan, results)
    scores: dict[Method, list[float]] = {method: [] for method in methods}
    for at in zip(*own.values(), strict=True):
        able = {method: level for method, level in zip(own, at, strict=True) if level is not None}
        for method in able:
            scores[method].append(float(reader.read(method, min(able.values()))[0]))
    return sorted(methods, key=lambda one: (len(scores[one]), np.mean(scores[one] or 0)), reverse=True)


def primary(plan: Plan, results: Mapping[str, Outcome], gains: Sequence[Comparison]) -> Configuration | None:
    """The configuration that RQ2 is decided on; None where no routed method was compared with its own pooled method."""
    compared = {row.reference for row in gains if row.method.is_routed}
    candidates = [method for method in plan.sparse if method in compared]
    if not candidates:
        return None
    best = ranked(plan, results, candidates)[0]
    return next(configuration for configuration in configurations(plan) if configuration.pooled == best)
