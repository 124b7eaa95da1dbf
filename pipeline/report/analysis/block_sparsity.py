"""Where a method spends its sparsity: the fraction of a block's weights that was masked, as the model ran."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from pipeline.report.analysis.evidence import Evidence, evaluated_samples
from pipeline.report.analysis.plan import Method, Plan


@dataclass(frozen=True)
class BlockSparsity:
    """A method at a target: the mean over test samples of what each block realised."""

    method: Method
    target: float
    values: Float[np.ndarray, " blocks"]


def block_sparsities(plan: Plan, evidence: Evidence) -> list[BlockSparsity]:
    """Every sparse method at every target that it has, on the samples that every method was evaluated on."""
    order: Any = evaluated_samples(plan, evidence, "test").index
    rows: list[BlockSparsity] = []
    for method in plan.sparse:
        table: Any = evidence.results[method.name]
        for target, part in table[table["sample_id"].isin(order)].groupby("target", sort=True):
            mean = np.stack([*part["sparsity_by_block"]]).mean(axis=0)
            rows.append(BlockSparsity(method, float(target), mean))
    return rows
