"""`wina_amp.allocation.greedy.blockwise`: every block meets every target, at errors that rise with it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference.greedy import block_error, greedy
from tests.wina_amp.allocation.blocks import BINS, random_model, score_counts, texts
from wina_amp.allocation.calibration.texts import MEASURED_FRACTION
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.histograms.thresholds import thresholds
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights

TARGETS = (0.25, 0.5, 0.65)

ROUNDING = 2e-5
"""Relative, of block errors: float32 sums of up to 48 terms, put together in another order."""


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_every_block_meets_every_target_with_rising_errors(kind) -> None:
    loaded = random_model(kind)
    paths = list(
        block_paths(
            loaded,
            texts(),
            score_counts(loaded, "wina"),
            bins=BINS,
            criterion="wina",
            stop=max(TARGETS),
            step=0.2,
            dense_prefix=1,
            budget=200,
        )
    )
    assert [block.block for block in paths] == [0, 1]
    for block in paths:
        costs = {p.name: p.gated_weights for p in projections(loaded.model) if p.block == block.block}
        assert block.projections == tuple(costs)
        at_targets = [block.path.at(target) for target in TARGETS]
        for target, (sparsity, _) in zip(TARGETS, at_targets, strict=True):
            rounding = 1e-12  # float64 sums of seven numbers of order 1
            assert np.average(sparsity, weights=list(costs.values())) == pytest.approx(target, abs=rounding)
        errors = [error for _, error in at_targets]
        assert 0 < errors[0] < errors[1] < errors[2]


@pytest.mark.parametrize("kind", ["llama", "phi3", "olmo2"])
def test_choices_are_those_of_algorithm_1_with_the_whole_model_run_for_every_candidate(kind) -> None:
    """Steps small enough for products to be advanced (`allocation.advance.WORTH`)."""
    loaded = random_model(kind)
    chosen, step, stop, prefix, block = texts(5), 0.1, 0.15, 1, 1
    counts = score_counts(loaded, "wina")
    layer = loaded.layers[block]
    own = [p for p in projections(loaded.model) if p.block == block]
    weights = {p.name: feature_weights("wina", p.module.weight, p.name) for p in own}

    def error(sparsities):
        limits = {
            p.name: torch.from_numpy(thresholds(BINS, counts[block, p.name], np.array([s])))[0]
            for p, s in zip(own, sparsities, strict=True)
        }
        return block_error(loaded, layer, own, weights, limits, chosen, prefix, MEASURED_FRACTION)

    slow = greedy([p.gated_weights for p in own], step, stop, error)
    options = {"bins": BINS, "criterion": "wina", "stop": stop, "step": step, "dense_prefix": prefix, "budget": 60}
    path = list(block_paths(loaded, chosen, counts, **options))[block].path
    assert len(slow) > 5
    np.testing.assert_allclose(path.sparsity, [sparsity for sparsity, _ in slow], atol=1e-12)  # sums of steps
    np.testing.assert_allclose(path.error[1:], [slow_error for _, slow_error in slow[1:]], rtol=ROUNDING)


def test_a_share_of_the_blocks_gets_the_paths_that_they_have_among_all() -> None:
    loaded = random_model("llama")
    options = {"bins": BINS, "criterion": "wina", "stop": 0.5, "step": 0.2, "dense_prefix": 1, "budget": 200}
    every = list(block_paths(loaded, texts(), score_counts(loaded, "wina"), **options))
    [one] = block_paths(loaded, texts(), score_counts(loaded, "wina"), **options, blocks=[1])
    assert one.block == 1 and one.path.to_lists() == every[1].path.to_lists()
