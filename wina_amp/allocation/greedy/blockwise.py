"""Greedy allocation of one group: calibration text -> block errors -> one path per block.

As published, every block gets the same target and is searched alone, on the inputs of the dense model. The thresholds
tried are those of the group's own score histograms of the dense model: the masks that meet a sparsity on these inputs.
Those that will run meet it on masked ones (`wina_amp/thresholds/as_run.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from wina_amp.allocation.calibration.cost import Meter
from wina_amp.allocation.calibration.texts import block_inputs
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.lazy import Lazy
from wina_amp.allocation.greedy.search import Exact, Path, search, sparsity_grids
from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import Projection, projections
from wina_amp.scoring.criteria import projection_weights
from wina_amp.tokens.samples import TokenizedSample


@dataclass(frozen=True)
class BlockPath:
    """The greedy path of one block, `path.sparsity` with one column for each of `projections` (canonical names)."""

    block: int
    projections: tuple[str, ...]
    path: Path


def block_paths(
    loaded: LoadedModel,
    texts: Sequence[TokenizedSample],
    counts: Mapping[tuple[int, str], Int[ndarray, " count"]],
    *,
    bins: Bins,
    criterion: str,
    stop: float,
    step: float,
    dense_prefix: int | float,
    budget: int,
    is_lazy: bool = False,
    meter: Meter | None = None,
    blocks: Collection[int] | None = None,
) -> Iterator[BlockPath]:
    """Allocate one group, block after block.

    Args:
        loaded: the dense model.
        texts: calibration text of the group (`calibration.choose`).
        counts: the group's score histogram of every (block, projection) for this criterion.
        bins: the bins they were counted in.
        criterion: how features are scored.
        stop: the highest model-wide sparsity that is needed, in [0, 1].
        step: see `search.sparsity_grids`.
        dense_prefix: see `eligibility.eligible`.
        budget: most tokens in a forward pass of the dense model.
        is_lazy: whether rounds try the likely steps only (`lazy`), instead of all of them as published.
        meter: counts what this costs.
        blocks: those that are searched; None is all of them. A block's path does not depend on the others.

    Guarantee: the rounds before a lower `stop` is reached are the same for a higher one.
    """
    meter = meter or Meter()
    inputs = block_inputs(loaded, texts, dense_prefix=dense_prefix, budget=budget)
    every = projections(loaded.model)
    for block in range(len(loaded.layers)):
        if blocks is not None and block not in blocks:
            inputs[block].clear()
            continue
        own = [projection for projection in every if projection.block == block]
        costs = [projection.gated_weights for projection in own]
        grids = sparsity_grids(costs, step)
        tried = {
            projection.name: _cutoffs(projection, criterion, bins, counts[block, projection.name], grid)
            for projection, grid in zip(own, grids, strict=True)
        }
        with BlockError(loaded, own, inputs[block], tried) as objective:
            path = search(grids, costs, stop, objective, Lazy if is_lazy else Exact)
        meter.ran(objective.tokens, Fraction(sum(costs), sum(projection.gated_weights for projection in every)))
        meter.evaluated(objective.evaluations)
        inputs[block].clear()
        yield BlockPath(block, tuple(projection.name for projection in own), path)


def _cutoffs(
    projection: Projection,
    criterion: str,
    bins: Bins,
    counts: Int[ndarray, " count"],
    grid: Float[ndarray, " steps"],
) -> Float[Tensor, "steps in"]:
    limits = torch.from_numpy(thresholds(bins, counts, grid)).to(projection.module.weight.device)
    return cutoffs(projection_weights(criterion, projection), limits)
