"""`pipeline.estimate.work`: the arithmetic equals a transcription that counts sample by sample and round by round."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.allocation.greedy.search import search, sparsity_grids
from pipeline.compute.sizes import Linear, Sizes
from pipeline.estimate import work
from pipeline.estimate.rates import Rates
from pipeline.estimate.work import Cost, greedy_operations
from pipeline.estimate.workload import Workload

BLOCK = (
    Linear("q", "qkv", 8, 8),
    Linear("k", "qkv", 8, 4),
    Linear("v", "qkv", 8, 4),
    Linear("o", "o", 8, 8),
    Linear("gate", "gate_up", 8, 24),
    Linear("up", "gate_up", 8, 24),
    Linear("down", "down", 24, 8),
)
SIZES = Sizes(BLOCK, blocks=3, hidden=8, vocabulary=50, heads=2, head_dim=4, is_tied=False)
LOAD = Workload(
    prompts=np.array([5, 7, 9]),
    answers=np.array([2, 3, 4]),
    is_train=np.array([True, False, False]),
    is_generated=np.array([False, False, True]),
    tasks=2,
)
RATES = Rates(flops=1e6, bandwidth=1e5, dispatch=1e-4, device="CPU")
COST = Cost(SIZES, LOAD, RATES, batch=10, bytes_per_number=2)
EVERY = 9
"""Train samples of a task: more than there are."""


def _pass(tokens: list[int], predicted: list[int], is_masked: bool) -> float:
    operations = 0.0
    for number, heads in zip(tokens, predicted, strict=True):
        operations += SIZES.blocks * sum(2 * number * one.inputs * one.outputs for one in BLOCK)
        operations += SIZES.blocks * sum(4 * SIZES.heads * SIZES.head_dim * seen for seen in range(1, number + 1))
        operations += 2 * heads * SIZES.hidden * SIZES.vocabulary
    traversals = work.TRAVERSALS + (work.MASKING_TRAVERSALS if is_masked else 0)
    moved = sum(tokens) * SIZES.blocks * sum(one.inputs for one in BLOCK) * 2 * traversals
    kernels = work.SMALL_OPERATIONS + (work.MASKING_OPERATIONS if is_masked else 0) + len(BLOCK)
    batches = math.ceil(sum(tokens) / 10)
    return operations / 1e6 + moved / 1e5 + batches * SIZES.blocks * kernels * 1e-4


def test_capture_runs_prompts_and_the_answers_of_train_samples_without_a_head():
    assert COST.capture() == pytest.approx(work.CAPTURE * _pass([7, 7, 9], [0, 0, 0], False))


@pytest.mark.parametrize("is_masked", [False, True])
def test_an_evaluation_is_a_pass_and_then_one_reading_of_the_weights_per_decoded_token(is_masked: bool):
    kernels = work.SMALL_OPERATIONS + (work.MASKING_OPERATIONS if is_masked else 0) + len(BLOCK)
    batches = math.ceil((9 + 4) / 10)
    weights = (3 * sum(one.inputs * one.outputs for one in BLOCK) + 2 * 8 * 50) * 2 / 1e5
    decoding = batches * 4 * (weights + SIZES.blocks * kernels * 1e-4)
    expected = _pass([7, 10, 9], [3, 4, 1], is_masked) + decoding + 3 * work.PER_SAMPLE
    assert COST.evaluation(["train", "test"], {"train": EVERY}, is_masked=is_masked) == pytest.approx(expected)
    only_train = _pass([7], [3], is_masked) + work.PER_SAMPLE
    assert COST.evaluation(["train"], {"train": EVERY, "test": None}, is_masked=is_masked) == pytest.approx(only_train)
    assert COST.evaluation(["train"], {"train": 0}, is_masked=is_masked) == 0
    first_test = Cost(SIZES, replace(LOAD, tasks=1), RATES, batch=10, bytes_per_number=2)
    only_first = _pass([10], [4], is_masked) + work.PER_SAMPLE
    assert first_test.evaluation(["test"], {"test": 1}, is_masked=is_masked) == pytest.approx(only_first)


def test_greedy_counts_the_products_that_the_search_asks_for():
    """A search whose errors keep every projection in play, its choices costed one by one."""
    tokens, step, stop = 6, 0.25, 0.15
    costs = [one.weights for one in BLOCK]
    asked: list[tuple[int, ...]] = []

    class Recorded:
        def errors(self, choices: list[tuple[int, ...]]) -> list[float]:
            asked.extend(choices)
            return [float(max(choice)) for choice in choices]  # the most even choice wins

    path = search(sparsity_grids(costs, step), costs, stop, Recorded())
    rounds = len(path.mean) - 1
    operations = 0
    for stepped in BLOCK:
        if stepped.site == "qkv":
            operations += sum(2 * 4 * tokens * one.weights for one in BLOCK if one.site == "qkv")
        if stepped.site in ("qkv", "o"):
            operations += sum(2 * tokens * one.weights for one in BLOCK if one.site in ("o", "gate_up"))
        if stepped.site == "gate_up":
            operations += 2 * tokens * stepped.weights
        operations += 2 * tokens * BLOCK[-1].weights
    assert len(asked) - 1 == rounds * len(BLOCK)
    assert greedy_operations(SIZES, stop=stop, step=step, tokens=tokens) == rounds * operations
    seconds = COST.greedy(5, stop=stop, step=step, tokens=tokens)
    assert seconds == pytest.approx(5 * SIZES.blocks * rounds * operations / 1e6)


def test_bases_cost_a_gram_matrix_and_a_decomposition_for_both_rotated_inputs_of_every_block():
    gram = sum(2 * 8 * one.inputs * one.outputs for one in BLOCK if one.site in ("qkv", "gate_up"))
    assert COST.transform() == pytest.approx(2 * SIZES.blocks * (gram + 2 * work.EIGEN * 8**3) / 1e6)


@pytest.mark.parametrize(("samples", "share"), [(1, 0.5), (10, 0.5)])
def test_a_loss_of_kl_is_half_a_masked_pass_over_its_train_samples(samples: int, fraction: float):
    assert COST.loss(samples) == pytest.approx(fraction * _pass([7], [2], True))


def test_a_step_of_kl_is_a_multiple_of_a_masked_pass():
    assert COST.gradients(1) == pytest.approx(work.SLOPES * _pass([7], [2], True))


def test_timing_reads_the_weights_for_every_step_of_every_part_and_compiles_every_cell_once():
    weights = (3 * sum(one.inputs * one.outputs for one in BLOCK) + 2 * 8 * 50) * 2
    kernels = work.SMALL_OPERATIONS + work.MASKING_OPERATIONS + len(BLOCK)
    step = weights / 1e5 + SIZES.blocks * kernels * 1e-4
    contexts = sum(
        2 * batch * context * SIZES.blocks * sum(one.inputs * one.outputs for one in BLOCK) / 1e6
        for batch in (1, 4)
        for context in (16, 64, 256)
    )
    part = work.BEGUN * contexts + 6 * work.STEPS_PER_TIMED * 32 * step + 2 * weights / 1e5
    found = COST.timings(10, batches=(1, 4), contexts=(16, 64, 256), steps=32)
    assert found == pytest.approx(6 * work.COMPILING + 10 * part)
