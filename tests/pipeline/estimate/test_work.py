"""`pipeline.estimate.work`: the arithmetic equals a transcription that counts sample by sample."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.compute.sizes import Linear, Sizes
from pipeline.estimate import work
from pipeline.estimate.rates import Rates
from pipeline.estimate.work import Cost
from pipeline.estimate.workload import Workload
from wina_amp.allocation.greedy.operations import operations

BLOCK = (
    Linear("q", "qkv", 8, 8),
    Linear("k", "qkv", 8, 4),
    Linear("v", "qkv", 8, 4),
    Linear("o", "o", 8, 8),
    Linear("gate", "gate_up", 8, 24),
    Linear("up", "gate_up", 8, 24),
    Linear("down", "down", 24, 8),
)
SIZES = Sizes(BLOCK, blocks=3, hidden=8, vocabulary=50, is_tied=False)
LOAD = Workload(
    prompts=np.array([5, 7, 9]),
    answers=np.array([2, 3, 4]),
    right=np.array([2, 2, 4]),
    is_train=np.array([True, False, False]),
    is_generated=np.array([False, False, True]),
    tasks=2,
)
RATES = Rates(token=1e-3, step=4e-3, flops=1e6, bandwidth=4e6, device="CPU")
COST = Cost(SIZES, LOAD, RATES, batch=10, bytes_per_number=2)
EVERY = 9
"""Train samples of a task: more than there are."""


def _pass(tokens: int, predicted: int) -> float:
    return tokens * SIZES.blocks * 1e-3 + 2 * predicted * SIZES.hidden * SIZES.vocabulary / 1e6


def test_capture_runs_prompts_and_the_right_answers_of_train_samples_without_a_head():
    assert COST.capture() == pytest.approx(work.CAPTURE * _pass(5 + 1 + 7 + 9, 0))


@pytest.mark.parametrize(("is_masked", "times"), [(False, 1.0), (True, work.MASKED)])
def test_an_evaluation_is_a_pass_and_then_a_step_of_all_blocks_per_decoded_token(is_masked: bool, times: float):
    batches = math.ceil((9 + 4) / 10)
    decoding = batches * 4 * SIZES.blocks * 4e-3
    expected = times * (_pass(5 + 2 + 7 + 3 + 9, 3 + 4 + 1) + decoding) + 3 * work.PER_SAMPLE
    assert COST.evaluation(["train", "test"], {"train": EVERY}, is_masked=is_masked) == pytest.approx(expected)
    only_train = times * _pass(7, 3) + work.PER_SAMPLE
    assert COST.evaluation(["train"], {"train": EVERY, "test": None}, is_masked=is_masked) == pytest.approx(only_train)
    assert COST.evaluation(["train"], {"train": 0}, is_masked=is_masked) == 0
    first_test = Cost(SIZES, replace(LOAD, tasks=1), RATES, batch=10, bytes_per_number=2)
    only_first = times * _pass(10, 4) + work.PER_SAMPLE
    assert first_test.evaluation(["test"], {"test": 1}, is_masked=is_masked) == pytest.approx(only_first)


def test_a_decoded_token_takes_as_long_as_reading_all_weights_where_that_is_longer():
    slow = replace(COST, rates=replace(RATES, bandwidth=1e3))
    steps = 4 * math.ceil((9 + 4) / 10)
    reading = (3 * sum(linear.weights for linear in BLOCK) + 2 * 8 * 50) * 2 / 1e3
    faster, slower = (cost.evaluation(["test"], {}, is_masked=False) for cost in (COST, slow))
    prompts = 2 * work.FEW_ROWS * 8 * 50 * 2 / 1e3 - 2 * (4 + 1) * 8 * 50 / 1e6  # two batches read the head
    assert slower - faster == pytest.approx(steps * (reading - SIZES.blocks * 4e-3) + prompts)


def test_greedy_counts_the_operations_of_every_block_and_group():
    linears = [(linear.site, linear.weights) for linear in BLOCK]
    count = operations(linears, stop=0.15, step=0.25, tokens=6, is_lazy=False)
    seconds = COST.greedy(5, stop=0.15, step=0.25, tokens=6, is_lazy=False)
    assert seconds == pytest.approx(5 * SIZES.blocks * count / 1e6)


def test_bases_cost_a_gram_matrix_and_a_decomposition_for_both_rotated_inputs_of_every_block():
    gram = sum(2 * 8 * linear.weights for linear in BLOCK if linear.site in ("qkv", "gate_up"))
    assert COST.transform() == pytest.approx(2 * SIZES.blocks * (gram + 2 * work.EIGEN * 8**3) / 1e6)


def test_thresholds_are_a_masked_pass_that_counts_over_train_samples_with_right_answers():
    assert COST.train_tokens == 6
    assert COST.calibration(6) == pytest.approx(work.MASKED * work.CAPTURE * _pass(6, 0))


@pytest.mark.parametrize("texts", [1, 10, 0.5])
def test_a_loss_is_a_masked_pass_over_texts_with_right_answers_and_two_heads(texts: float):
    assert COST.dense(texts) == pytest.approx(texts * _pass(6, 0))
    blocks, head = _pass(6, 0), _pass(0, 2)
    assert COST.loss(texts) == pytest.approx(texts * (work.MASKED * blocks + 2 * head))
    assert COST.gradient(texts) == pytest.approx(texts * (work.GRADIENT * work.MASKED * blocks + 3 * head))


def test_logits_of_a_few_positions_take_as_long_as_reading_the_head_in_every_batch():
    slow = replace(COST, rates=replace(RATES, bandwidth=1e4))
    reading = work.FEW_ROWS * 8 * 50 * 2 / 1e4
    assert reading > 2 * 4 * 8 * 50 / 1e6
    assert slow.loss(1) == pytest.approx(work.MASKED * _pass(6, 0) + 2 * reading)
    assert slow.loss(4) == pytest.approx(work.MASKED * _pass(4 * 6, 0) + 2 * 3 * reading), "three batches of 10"


def test_timing_reads_the_weights_for_every_step_of_every_part_and_compiles_every_cell_once():
    weights = (3 * sum(linear.weights for linear in BLOCK) + 2 * 8 * 50) * 2
    step = weights / 4e6 + SIZES.blocks * 4e-3 * work.MASKED
    contexts = sum(
        2 * batch * context * SIZES.blocks * sum(linear.weights for linear in BLOCK) / 1e6
        for batch in (1, 4)
        for context in (16, 64, 256)
    )
    part = work.BEGUN * contexts + 6 * work.STEPS_PER_TIMED * 32 * step + 2 * weights / 4e6
    seconds = COST.timings(10, batches=(1, 4), contexts=(16, 64, 256), steps=32)
    assert seconds == pytest.approx(6 * work.COMPILING + 10 * part)
