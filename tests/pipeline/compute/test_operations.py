"""`pipeline.compute.operations`: hand counts, and parity with a count that walks every token and feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.compute.operations import Shape, Work, attended, dense_flops, flops, realised_sparsity, sparsity_by_block
from tests.reference.compute import count

INPUTS, OUTPUTS = (4, 4, 6), (3, 2, 4)
HEADS, HEAD_DIM = 2, 2
SIZES = {"weights": 4 * 3 + 4 * 2 + 6 * 4, "blocks": 1, "queries": HEADS * HEAD_DIM, "hidden": 4, "vocabulary": 10}
SHAPE = Shape(features=INPUTS, gated=OUTPUTS, **SIZES)

ROUNDING = 1e-12
"""Relative; sums of whole numbers far below 2^53 are exact, only quotients round."""


def _work(tokens, attended, predicted, eligible, kept) -> Work:
    return Work(*(np.array(value, np.int64) for value in (tokens, attended, predicted, eligible, kept)))


def test_a_dense_token_costs_what_a_hand_count_says():
    # Linear 2 * (12 + 8 + 24) = 88; attention to itself 4 * 1 * 2 * 2 = 16; lm_head 2 * 4 * 10 = 80.
    work = _work([1], [1], [1], [0], [[0, 0, 0]])
    assert dense_flops(SHAPE, work).tolist() == [184.0]
    assert flops(SHAPE, work).tolist() == [184.0]


def test_a_masked_token_costs_what_a_hand_count_says():
    # Linear 2 * (2 * 3 + 1 * 2 + 3 * 4) = 40; scoring 2 * (4 + 4 + 6) = 28; attention to 5 positions 80; router 7.
    work = _work([1], [5], [0], [1], [[2, 1, 3]])
    assert flops(SHAPE, work, router=7.0).tolist() == [40.0 + 28.0 + 80.0 + 7.0]
    # Zeroed weights: 2 * 3 + 3 * 2 + 3 * 4 = 24 of 44.
    assert np.allclose(realised_sparsity(SHAPE, work), 24 / 44, rtol=ROUNDING, atol=0)


def test_rotations_cost_every_token_and_are_no_part_of_the_reference():
    # Inputs of width 4 and 3: 2 * (16 + 9) = 50 a token.
    rotated = replace(SHAPE, rotations=(4, 3))
    work = _work([3], [6], [1], [1], [[2, 1, 3]])
    assert (flops(rotated, work) - flops(SHAPE, work)).tolist() == [3 * 50.0]
    assert dense_flops(rotated, work).tolist() == dense_flops(SHAPE, work).tolist()
    assert realised_sparsity(rotated, work).tolist() == realised_sparsity(SHAPE, work).tolist()


def test_counts_equal_a_walk_over_every_token_and_feature():
    rng = np.random.default_rng(0)
    projections = list(zip(INPUTS, OUTPUTS, strict=True))
    for _ in range(20):
        tokens = []
        for position in range(int(rng.integers(1, 8))):
            is_dense = position < 2
            kept = None if is_dense else [rng.choice(d, rng.integers(0, d + 1), replace=False) for d, _ in projections]
            tokens.append({"context": position + 1, "predicts": bool(rng.integers(2)), "kept": kept})
        masked = [token for token in tokens if token["kept"] is not None]
        work = _work(
            [len(tokens)],
            [attended(0, len(tokens))],
            [sum(token["predicts"] for token in tokens)],
            [len(masked)],
            [[sum(len(token["kept"][index]) for token in masked) for index in range(3)]],
        )
        walk = (projections, 1, HEADS, HEAD_DIM, SHAPE.hidden, SHAPE.vocabulary)
        assert flops(SHAPE, work).tolist() == [count(*walk, tokens)]
        assert flops(replace(SHAPE, rotations=(4, 3)), work).tolist() == [count(*walk, tokens, rotations=(4, 3))]
        assert dense_flops(SHAPE, work).tolist() == [count(*walk, [token | {"kept": None} for token in tokens])]


def test_a_mask_on_the_activated_gate_saves_rows_of_up_and_columns_of_down():
    # gate and up 4 x 6, down 6 x 4: 72 weights in all; one of the 6 features gates a row of up and a column of down.
    shape = Shape(features=(6,), gated=(4 + 4,), **{**SIZES, "weights": 72})
    work = _work([3], [5], [0], [2], [[7]])
    # One dense token runs all 72 weights, the eligible two skip 8 for each of 2 * 6 - 7 = 5 features.
    assert flops(shape, work).tolist() == [2 * (3 * 72 - 5 * 8) + 2 * 2 * 6 + 80]
    assert np.allclose(realised_sparsity(shape, work), 5 * 8 / (2 * 72), rtol=ROUNDING, atol=0)


def test_counts_of_a_gated_mlp_equal_a_walk_over_its_rows_and_columns():
    rng = np.random.default_rng(1)
    shape = Shape(features=(6,), gated=(4 + 4,), **{**SIZES, "weights": 72})
    for _ in range(20):
        eligible = int(rng.integers(1, 5))
        masks = rng.random((eligible, 6)) < 0.5
        multiplied = sum(4 * 6 + sum(4 + 4 for is_kept in token if is_kept) for token in masks)
        work = _work([eligible], [0], [0], [eligible], [[int(masks.sum())]])
        assert flops(shape, work).tolist() == [2 * multiplied + 2 * 6 * eligible]
        fraction = 1 - multiplied / (72 * eligible)
        assert np.allclose(realised_sparsity(shape, work), fraction, rtol=0, atol=ROUNDING)


def test_continuing_a_prompt_attends_to_as_much_as_running_it_in_one_piece():
    assert attended(0, 12) == attended(0, 7) + attended(7, 5)


def test_every_block_has_a_sparsity_of_its_own_and_the_models_is_their_mean():
    two = Shape(features=INPUTS * 2, gated=OUTPUTS * 2, **SIZES | {"blocks": 2, "weights": 2 * SIZES["weights"]})
    work = _work([1, 2, 1], [5, 6, 1], [0, 0, 0], [1, 2, 0], [[2, 1, 3, 4, 4, 6], [8, 8, 12, 4, 2, 6], [0] * 6])
    by_block = sparsity_by_block(two, work)
    np.testing.assert_allclose(by_block, [[24 / 44, 0], [0, (4 * 3 + 6 * 2 + 6 * 4) / 88], [0, 0]], rtol=ROUNDING)
    np.testing.assert_allclose(by_block.mean(axis=1), realised_sparsity(two, work), rtol=ROUNDING)
    dense = _work([1], [1], [1], [0], np.zeros((1, 0)))
    assert sparsity_by_block(Shape(features=(), gated=(), **SIZES), dense).tolist() == [[0.0]]


def test_samples_are_counted_independently_and_nothing_eligible_is_no_sparsity():
    both = _work([1, 1], [1, 5], [1, 0], [0, 1], [[0, 0, 0], [2, 1, 3]])
    assert flops(SHAPE, both, router=np.array([0.0, 7.0])).tolist() == [184.0, 155.0]
    assert realised_sparsity(SHAPE, both)[0] == 0.0
