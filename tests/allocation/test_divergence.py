"""`pipeline.allocation.divergence`: the KL of the slow transcription, however much is reused, for every family."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.allocation.divergence import Divergence
from pipeline.models.projections import projections
from pipeline.thresholds import thresholds
from tests.allocation.blocks import BINS, CONFIGS, random_model, score_counts, texts
from tests.reference.divergence import divergence

CRITERION = "wina"
PREFIX = 1
ROUNDING = 1e-4
"""Relative: float32 logits of random models, batched and padded here, one text at a time in the transcription."""


def _setup(kind: str):
    loaded = random_model(kind)
    counts = score_counts(loaded, CRITERION)
    options = {"bins": BINS, "criterion": CRITERION, "dense_prefix": PREFIX, "budget": 64}
    return loaded, counts, Divergence(loaded, texts(), counts, **options)


def _slow(loaded, counts, sparsity) -> float:
    limits = {
        (p.block, p.name): float(thresholds(BINS, counts[p.block, p.name], np.array(s)))
        for p, s in zip(projections(loaded.model), sparsity, strict=True)
    }
    return divergence(loaded, texts(), limits, CRITERION, PREFIX)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_loss_equals_the_slow_transcription_whatever_was_kept(kind: str):
    loaded, counts, objective = _setup(kind)
    rng = np.random.default_rng(0)
    sparsity = rng.uniform(0, 0.8, len(projections(loaded.model)))
    with objective:
        fresh = objective.loss(sparsity)
        assert fresh == pytest.approx(_slow(loaded, counts, sparsity), rel=ROUNDING)
        objective.rebase(sparsity)
        assert objective.loss(sparsity) == fresh
        for number in (0, len(sparsity) // 2, len(sparsity) - 1):
            near = sparsity.copy()
            near[number] = 0.3
            assert objective.loss(near) == pytest.approx(_slow(loaded, counts, near), rel=ROUNDING)
        objective.rebase(np.zeros(len(sparsity)))
        assert objective.loss(sparsity) == fresh


def test_the_dense_allocation_diverges_by_nothing_and_masks_are_gone_afterwards():
    loaded, _, objective = _setup("llama")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        before = loaded.model(input_ids=ids).logits
        with objective:
            assert objective.loss(np.zeros(len(projections(loaded.model)))) == 0
            assert objective.loss(np.full(len(projections(loaded.model)), 0.5)) > 0
        assert torch.equal(loaded.model(input_ids=ids).logits, before)
    assert not any(p.module._forward_pre_hooks for p in projections(loaded.model))


def test_costs_and_places_are_those_of_the_projections():
    loaded, _, objective = _setup("phi3")
    assert objective.costs == [p.gated_weights for p in projections(loaded.model)]
    assert objective.places == [(block, name) for block in (0, 1) for name in ("qkv", "o", "gate_up", "down")]
