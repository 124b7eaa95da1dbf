"""`pipeline.compute.routing`: what a router costs, counted by hand."""

from __future__ import annotations

import numpy as np

from pipeline.compute.routing import embedding_flops, neighbour_flops, scores_flops
from wina_amp.models.projections import projections


def test_the_embedding_router_costs_its_mean_and_its_linear_layer() -> None:
    assert embedding_flops(np.array([10, 3]), hidden=8, groups=4).tolist() == [80 + 64, 24 + 64]


def test_the_neighbours_router_costs_a_product_and_a_sum_a_pair_as_well() -> None:
    flops = neighbour_flops(np.array([10, 1]), hidden=8, groups=4).tolist()
    assert flops == [80 + 9 * 16 + 128, 8 + 0 + 128]


def test_the_scores_router_costs_a_dense_block_without_its_last_down_projection(tiny_loaded) -> None:
    """Hidden 32, 4 heads of 8, 2 key/value heads, intermediate 48; 5 tokens, 4 of them eligible, dim 3, 2 groups."""
    own = [projection for projection in projections(tiny_loaded.model) if projection.block == 0]
    flops = scores_flops(np.array([5]), np.array([4]), own, dim=3, groups=2)
    linear = 2 * 5 * (32 * 32 + 2 * 32 * 16 + 32 * 32 + 2 * 32 * 48)
    attention = 4 * 4 * 8 * (1 + 2 + 3 + 4 + 5)
    features = 32 + 32 + 32 + 48
    signatures = 4 * features + 3 * features + 2 * features * 3
    assert flops.tolist() == [linear + attention + signatures + 2 * (4 * 3) * 2]
    rotated = scores_flops(np.array([5]), np.array([4]), own, dim=3, groups=2, rotations=(32, 32))
    assert (rotated - flops).tolist() == [5 * 2 * (2 * 32 * 32)]
    both = scores_flops(np.array([5]), np.array([4]), projections(tiny_loaded.model), dim=3, groups=2)
    assert both[0] == 2 * flops[0] + 2 * 5 * 48 * 32  # with a second block, the first block's down has to run, too
