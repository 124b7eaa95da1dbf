"""Our greedy search with the error measure of the released code, against the tables its own code wrote.

The objective is the transcription in tests/reference/released_greedy.py, the search is
`wina_amp.allocation.greedy.search`. A search forgets nothing: one tie that rounding decides the other way shows in
every later row until the other choice catches up. The whole table is therefore compared round by round, each from the
recorded state before it; complete searches from the dense block are in docs/method.md (they take minutes).
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.parity.recording import FirstBlock, first_block_model
from tests.reference.released_greedy import (
    MODES,
    NAMES,
    SAMPLES,
    STEP,
    PublishedError,
    ReleasedError,
    icdf,
)
from wina_amp.allocation.calibration.texts import block_inputs
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.search import search, sparsity_grids
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights
from wina_amp.tokens.samples import TokenizedSample

RECORDINGS = FirstBlock()
BLOCK = 0
FIRST_ROUNDS = 12
EVERY = 57
"""Rounds of a table between two that are compared: 7 of 344."""

SAME_STEPS = 1e-12
"""They add up steps, we multiply them: float64 rounding of at most 93 additions."""
ERROR_ROUNDING = 1e-3
"""Relative: scores so close to a threshold that the order of a float32 sum decides whether they are masked. Largest
difference found in 2,752 rounds, leaving out what the floor below is for: 6e-4."""
ERROR_FLOOR = 5e-4
"""Absolute: in the first rounds one such score is a noticeable part of an error. Found: 2.2e-4, from one feature of
`up` in block 3 whose score is 1e-5 from its threshold, where float32 and float64 activations differ by up to 6e-5."""
TIE = 2e-3
"""Relative difference of two candidates' errors below which rounding may decide: twice `ERROR_ROUNDING`."""


def _costs() -> list[int]:
    return [p.gated_weights for p in projections(first_block_model().model)]


def _agree(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= ERROR_ROUNDING * theirs + ERROR_FLOOR


@pytest.mark.parametrize("mode", MODES)
def test_steps_and_effective_sparsity_of_the_whole_table_follow_from_weight_shapes(mode: str) -> None:
    recorded = RECORDINGS.table(mode, BLOCK)
    costs = np.array(_costs())
    sparsity = recorded[list(NAMES)].to_numpy()
    steps = np.array([grid[1] for grid in sparsity_grids(costs.tolist(), STEP)])
    taken = np.diff(np.vstack([np.zeros(len(NAMES)), sparsity]), axis=0) / steps
    np.testing.assert_allclose(taken.sum(axis=1), 1.0, atol=len(recorded) * SAME_STEPS)
    np.testing.assert_allclose(sparsity @ costs / costs.sum(), recorded["Effective Sparsity"], atol=SAME_STEPS)


@pytest.mark.parametrize("mode", MODES)
def test_a_search_from_the_dense_block_writes_the_first_rows_of_their_table(mode: str) -> None:
    recorded = RECORDINGS.table(mode, BLOCK)[:FIRST_ROUNDS]
    costs = _costs()
    steps = sparsity_grids(costs, STEP)
    with ReleasedError(RECORDINGS, first_block_model(), mode, BLOCK, steps) as objective:
        path = search(steps, costs, recorded["Effective Sparsity"].iloc[-1], objective)
    assert len(path.sparsity) == 1 + FIRST_ROUNDS
    np.testing.assert_allclose(path.sparsity[1:], recorded[list(NAMES)], atol=SAME_STEPS)
    for ours, theirs in zip(path.error[1:], recorded["Activation Error"], strict=True):
        assert _agree(ours, theirs)


@pytest.mark.parametrize("mode", MODES)
def test_from_their_state_we_take_their_step_but_for_ties_of_rounding(mode: str) -> None:
    recorded = RECORDINGS.table(mode, BLOCK)
    sparsity = recorded[list(NAMES)].to_numpy()
    steps = sparsity_grids(_costs(), STEP)
    with ReleasedError(RECORDINGS, first_block_model(), mode, BLOCK, steps) as objective:
        for row in range(1, len(recorded), EVERY):
            before, after = (_levels(sparsity[number], steps) for number in (row - 1, row))
            choices = [(*before[:p], before[p] + 1, *before[p + 1 :]) for p in range(len(NAMES))]
            errors = objective.errors(choices)
            theirs = errors[choices.index(after)]
            assert theirs <= min(errors) * (1 + TIE)
            assert _agree(theirs, recorded["Activation Error"][row])


@pytest.mark.parametrize("mode", MODES)
def test_their_baseline_is_the_error_of_the_uniform_allocation(mode: str) -> None:
    recorded = RECORDINGS.table(mode, BLOCK)
    with ReleasedError(RECORDINGS, first_block_model(), mode, BLOCK) as objective:
        for row in (0, 129, 343):
            found = objective.error([recorded["Effective Sparsity"][row]] * len(NAMES))
            assert _agree(found, recorded["Baseline Error"][row])


def test_the_pipelines_errors_are_those_of_whole_forward_passes_along_a_search() -> None:
    """The fast objective that `wina_amp.allocation` searches with, the same thresholds, from states of their tables."""
    loaded, mode = first_block_model(), "wina"
    own = [p for p in projections(loaded.model)]
    steps = sparsity_grids(_costs(), STEP)
    texts = [TokenizedSample(str(number), ids, []) for number, ids in enumerate(RECORDINGS.sequences()[:SAMPLES])]
    inputs = block_inputs(loaded, texts, dense_prefix=0.01, budget=1000)[BLOCK]
    tried = {}
    for p, grid in zip(own, steps, strict=True):
        limits = torch.tensor([icdf(RECORDINGS, mode, BLOCK, p.name, float(s)) for s in grid])
        tried[p.name] = cutoffs(feature_weights(MODES[mode], p.module.weight, p.name), limits)
    sparsity = RECORDINGS.table(mode, BLOCK)[list(NAMES)].to_numpy()
    with (
        PublishedError(RECORDINGS, loaded, mode, BLOCK, steps) as slow,
        BlockError(loaded, own, inputs, tried) as fast,
    ):
        for row in range(300):
            levels = _levels(sparsity[row], steps)
            choices = [(*levels[:p], levels[p] + 1, *levels[p + 1 :]) for p in range(len(NAMES))]
            found = fast.errors(choices)
            if row % 100 == 99:
                theirs = slow.errors(choices)
                np.testing.assert_allclose(found, theirs, rtol=ERROR_ROUNDING)
                assert theirs[int(np.argmin(found))] <= min(theirs) * (1 + TIE)


def _levels(sparsities: np.ndarray, steps: list[np.ndarray]) -> tuple[int, ...]:
    found = tuple(round(float(s / grid[1])) for s, grid in zip(sparsities, steps, strict=True))
    back = [grid[level] for grid, level in zip(steps, found, strict=True)]
    np.testing.assert_allclose(back, sparsities, atol=SAME_STEPS)
    return found
