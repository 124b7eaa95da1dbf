"""Our greedy search with the error measure of the released code, against the tables its own code wrote.

The objective is the transcription in tests/reference/released_greedy.py, the search is
`pipeline.allocation.greedy.search`. A search forgets nothing: one tie that rounding decides the other way shows in
every later row until the other choice catches up. The whole table is therefore compared round by round, each from the
recorded state before it; complete searches from the dense block are in docs/method.md (they take minutes).
"""

from __future__ import annotations

from functools import lru_cache
from operator import attrgetter

import numpy as np
import pytest
import torch

from pipeline.allocation.calibration.texts import block_inputs
from pipeline.allocation.greedy.block_error import BlockError
from pipeline.allocation.greedy.search import ladders, search
from pipeline.tokens.samples import TokenizedSample
from tests.reference.released_greedy import (
    MODES,
    NAMES,
    PARITY,
    SAMPLES,
    STEP,
    PublishedError,
    ReleasedError,
    icdf,
    sequences,
    table,
)
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights

pytestmark = pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recordings of the released code at {PARITY}")

BLOCKS = 4
FIRST_ROUNDS = 12
EVERY = 57
"""Rounds of a table between two that are compared: 7 of 344, at another place in every block."""

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


@lru_cache(maxsize=1)
def _model() -> LoadedModel:
    return load(PARITY / "model", revision=None, dtype="float32", device="cpu")


def _costs(block: int) -> list[int]:
    return [p.gated_weights for p in projections(_model().model) if p.block == block]


def _agree(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= ERROR_ROUNDING * theirs + ERROR_FLOOR


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("mode", MODES)
def test_steps_and_effective_sparsity_of_the_whole_table_follow_from_weight_shapes(mode: str, block: int) -> None:
    recorded = table(mode, block)
    costs = np.array(_costs(block))
    sparsity = recorded[list(NAMES)].to_numpy()
    steps = np.array([ladder[1] for ladder in ladders(costs.tolist(), STEP)])
    taken = np.diff(np.vstack([np.zeros(len(NAMES)), sparsity]), axis=0) / steps
    np.testing.assert_allclose(taken.sum(axis=1), 1.0, atol=len(recorded) * SAME_STEPS)
    np.testing.assert_allclose(sparsity @ costs / costs.sum(), recorded["Effective Sparsity"], atol=SAME_STEPS)


@pytest.mark.parametrize("block", [0, 3])
@pytest.mark.parametrize("mode", MODES)
def test_a_search_from_the_dense_block_writes_the_first_rows_of_their_table(mode: str, block: int) -> None:
    recorded = table(mode, block)[:FIRST_ROUNDS]
    costs = _costs(block)
    steps = ladders(costs, STEP)
    with ReleasedError(_model(), mode, block, steps) as objective:
        path = search(steps, costs, recorded["Effective Sparsity"].iloc[-1], objective)
    assert len(path.sparsity) == 1 + FIRST_ROUNDS
    np.testing.assert_allclose(path.sparsity[1:], recorded[list(NAMES)], atol=SAME_STEPS)
    for ours, theirs in zip(path.error[1:], recorded["Activation Error"], strict=True):
        assert _agree(ours, theirs)


@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("mode", MODES)
def test_from_their_state_we_take_their_step_but_for_ties_of_rounding(mode: str, block: int) -> None:
    recorded = table(mode, block)
    sparsity = recorded[list(NAMES)].to_numpy()
    steps = ladders(_costs(block), STEP)
    with ReleasedError(_model(), mode, block, steps) as objective:
        for row in range(1 + 13 * block, len(recorded), EVERY):
            before, after = (_levels(sparsity[number], steps) for number in (row - 1, row))
            choices = [(*before[:p], before[p] + 1, *before[p + 1 :]) for p in range(len(NAMES))]
            errors = objective.errors(choices)
            theirs = errors[choices.index(after)]
            assert theirs <= min(errors) * (1 + TIE)
            assert _agree(theirs, recorded["Activation Error"][row])


@pytest.mark.parametrize("mode", MODES)
def test_their_baseline_is_the_error_of_the_uniform_allocation(mode: str) -> None:
    recorded = table(mode, 1)
    with ReleasedError(_model(), mode, 1) as objective:
        for row in (0, 129, 343):
            found = objective.error([recorded["Effective Sparsity"][row]] * len(NAMES))
            assert _agree(found, recorded["Baseline Error"][row])


@pytest.mark.parametrize("block", [0, 3])
def test_the_pipelines_errors_are_those_of_whole_forward_passes_along_a_search(block: int) -> None:
    """The fast objective that `pipeline.allocation` searches with, the same thresholds, from states of their tables."""
    loaded, mode = _model(), "wina"
    own = [p for p in projections(loaded.model) if p.block == block]
    steps = ladders(_costs(block), STEP)
    layers = list(attrgetter(loaded.family.layers)(loaded.model))
    texts = [TokenizedSample(str(number), ids, []) for number, ids in enumerate(sequences()[:SAMPLES])]
    inputs = block_inputs(loaded, layers, texts, dense_prefix=0.01, budget=1000)[block]
    tried = {}
    for p, ladder in zip(own, steps, strict=True):
        limits = torch.tensor([icdf(mode, block, p.name, float(s)) for s in ladder])
        tried[p.name] = cutoffs(feature_weights(MODES[mode], p.module.weight, p.name), limits)
    sparsity = table(mode, block)[list(NAMES)].to_numpy()
    with (
        PublishedError(loaded, mode, block, steps) as slow,
        BlockError(loaded, layers[block], own, inputs, tried) as fast,
    ):
        for row in range(300):
            levels = _levels(sparsity[row], steps)
            choices = [(*levels[:p], levels[p] + 1, *levels[p + 1 :]) for p in range(len(NAMES))]
            found = fast.errors(choices)
            if row % 100 == 99:
                theirs = slow.errors(choices)
                np.testing.assert_allclose(found, theirs, rtol=ERROR_ROUNDING)
                assert theirs[int(np.argmin(found))] <= min(theirs) * (1 + TIE)


def test_the_recordings_used_the_first_two_samples_of_the_shuffled_order() -> None:
    recorded = table("wina", 0).iloc[200]
    found = []
    for samples in (SAMPLES - 1, SAMPLES, SAMPLES + 1):
        with ReleasedError(_model(), "wina", 0, samples=samples) as objective:
            found.append(_agree(objective.error(recorded[list(NAMES)].tolist()), recorded["Activation Error"]))
    assert found == [False, True, False]


def _levels(sparsities: np.ndarray, steps: list[np.ndarray]) -> tuple[int, ...]:
    found = tuple(round(float(s / ladder[1])) for s, ladder in zip(sparsities, steps, strict=True))
    back = [ladder[level] for ladder, level in zip(steps, found, strict=True)]
    np.testing.assert_allclose(back, sparsities, atol=SAME_STEPS)
    return found
