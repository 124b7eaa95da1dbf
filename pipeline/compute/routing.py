"""Operations that a router costs, counted like everything else (`pipeline.compute.operations`).

`scores` needs a dense pass of the first blocks over the prompt, because the profile is not known before they have run:
all of their projections but the last `down`, whose input is the last activation observed. That pass is counted in full;
nothing of it is reused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from pipeline.compute.operations import Shape, Work, attended, flops
from wina_amp.models.projections import Projection, sites


def embedding_flops(tokens: Int[ndarray, " samples"], hidden: int, groups: int) -> Float[ndarray, " samples"]:
    """Operations of the `embedding` router: `tokens * hidden` for the mean, then the linear layer."""
    return tokens * float(hidden) + _linear(hidden, groups)


def neighbour_flops(tokens: Int[ndarray, " samples"], hidden: int, groups: int) -> Float[ndarray, " samples"]:
    """Operations of the `neighbours` router, and of a benefit router: the mean, a product and a sum for every pair, the
    linear layer."""
    return tokens * float(hidden) + (tokens - 1) * 2.0 * hidden + _linear(2 * hidden, groups)


def scores_flops(
    tokens: Int[ndarray, " samples"],
    eligible: Int[ndarray, " samples"],
    projections: Sequence[Projection],
    *,
    dim: int,
    groups: int,
    rotations: tuple[int, ...] = (),
) -> Float[ndarray, " samples"]:
    """Operations of the `scores` router: the dense pass, the signatures, the linear layer.

    A signature costs `eligible * features` to add magnitudes up, `3 * features` to weigh and normalise the sum, and
    `2 * features * dim` to project it.

    Args:
        tokens: tokens of every prompt.
        eligible: those of them that a signature is made from.
        projections: all projections of the first blocks.
        dim: numbers per signature.
        groups: outputs of the linear layer.
        rotations: width of every rotated input of the first blocks.
    """
    last = projections[-1].block
    run = [projection for projection in projections if (projection.block, projection.name) != (last, "down")]
    shape = Shape(
        weights=sum(projection.gated_weights for projection in run),
        features=(),
        gated=(),
        blocks=last + 1,
        queries=next(projection.in_features for projection in run if projection.name == "o"),
        hidden=0,
        vocabulary=0,
        rotations=rotations,
    )
    nothing = np.zeros(len(tokens), dtype=np.int64)
    positions = np.array([attended(0, int(number)) for number in tokens])
    dense = flops(shape, Work(tokens, positions, nothing, nothing, np.zeros((len(tokens), 0), dtype=np.int64)))
    observed = [site.features for site in sites(projections)]
    signatures = eligible * float(sum(observed)) + (3.0 + 2.0 * dim) * sum(observed)
    return dense + signatures + _linear(len(observed) * dim, groups)


def _linear(features: int, groups: int) -> float:
    return 2.0 * features * groups
