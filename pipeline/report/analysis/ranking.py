"""The configuration that RQ2 is decided on: the one with the best pooled method, of those that have routed groups.

Groups that help a weak profile may only repair what a better pooled profile repairs without them. Pooled methods alone
are ranked, so the choice does not favour configurations whose groups gained by chance.

A ranking needs one scale, so savings are matched between all methods that are ranked, not pair by pair: the mean
difference from the baseline of a pair that is read at higher savings is another quantity. Only methods that can be
chosen are ranked, so neither routers nor other pooled methods influence the choice. At a target that only some methods
reach, those are compared; a method with fewer targets ranks behind those with more, because its mean is over easier
ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.analysis.configurations import Configuration, configuration_of
from pipeline.report.analysis.evidence import Outcome
from pipeline.report.analysis.matched_compute import Reader, matched_savings
from pipeline.report.analysis.plan import Method, Plan


def ranked(plan: Plan, results: Mapping[str, Outcome], methods: Sequence[Method]) -> list[Method]:
    """`methods`, best first: by the number of their targets, then by mean accuracy at savings matched between them."""
    reader = Reader(plan, results)
    scores: dict[Method, list[float]] = {method: [] for method in methods}
    own = {method: matched_savings(plan, results, (method,)) or (None,) * len(plan.targets) for method in methods}
    for savings in zip(*own.values(), strict=True):
        reached = {method: saving for method, saving in zip(own, savings, strict=True) if saving is not None}
        for method in reached:
            scores[method].append(float(reader.read(method, min(reached.values()))[0]))
    return sorted(methods, key=lambda method: (len(scores[method]), np.mean(scores[method] or 0)), reverse=True)


def primary(plan: Plan, results: Mapping[str, Outcome], gains: Sequence[Comparison]) -> Configuration | None:
    """The configuration that RQ2 is decided on; None where no routed method was compared with its own pooled method."""
    references = {row.reference for row in gains if row.method.is_routed}
    candidates = [method for method in plan.sparse if method in references]
    return configuration_of(plan, ranked(plan, results, candidates)[0]) if candidates else None
