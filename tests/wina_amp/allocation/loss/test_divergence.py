"""`wina_amp.allocation.loss.divergence`: the KL of the slow transcription, however much is reused, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference.divergence import divergence
from tests.wina_amp.allocation.blocks import BINS, CONFIGS, random_model, score_counts, texts
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.histograms.thresholds import thresholds
from wina_amp.models.projections import projections

CRITERION = "wina"
PREFIX = 1
ROUNDING = 1e-4
"""Relative: float32 logits of random models, batched and padded here, one text at a time in the transcription."""
FLOOR = 1e-7
"""Nats: what is left of float32 logarithms where predictions hardly differ."""


def _setup(kind: str):
    loaded = random_model(kind)
    counts = score_counts(loaded, CRITERION)
    return loaded, counts, Divergence(LossInputs(loaded, texts(), counts, BINS, CRITERION, PREFIX, budget=64))


def _slow(loaded, counts, sparsity) -> float:
    limits = {
        (p.block, p.name): float(thresholds(BINS, counts[p.block, p.name], np.array(s)))
        for p, s in zip(projections(loaded.model), sparsity, strict=True)
    }
    return divergence(loaded, texts(), limits, CRITERION, PREFIX)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_loss_equals_the_slow_transcription_wherever_masks_begin(kind: str):
    loaded, counts, objective = _setup(kind)
    positions = sum(len(text.answer_ids) for text in texts())
    rng = np.random.default_rng(0)
    sparsity = rng.uniform(0.3, 0.9, len(projections(loaded.model)))
    blocks = np.array([projection.block for projection in projections(loaded.model)])
    for first in (0, 1):
        later = np.where(blocks < first, 0.0, sparsity)
        loss = objective.losses(later).sum() / positions
        assert loss > 100 * FLOOR
        assert loss == pytest.approx(_slow(loaded, counts, later), rel=ROUNDING, abs=FLOOR)


def test_the_dense_allocation_diverges_by_nothing_and_masks_are_gone_afterwards():
    loaded, _, objective = _setup("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        before = loaded.model(input_ids=ids).logits
        assert (objective.losses(np.zeros(len(projections(loaded.model)))) == 0).all()
        assert (objective.losses(np.full(len(projections(loaded.model)), 0.5)) > 0).all()
        assert torch.equal(loaded.model(input_ids=ids).logits, before)
    assert not any(p.module._forward_pre_hooks for p in projections(loaded.model))


def test_fractions_are_those_of_the_projections():
    loaded, _, objective = _setup("phi3")
    weights = np.array([p.module.weight.numel() for p in projections(loaded.model)])
    np.testing.assert_allclose(objective.fractions, weights / weights.sum(), rtol=1e-15)
