"""`wina_amp.allocation.loss.gradients`: the gradients of the slow transcription, and a model left as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.reference.gradients import all_gradients, gradients
from tests.wina_amp.allocation.blocks import BINS, CONFIGS, random_model, texts
from tests.wina_amp.allocation.blocks import score_counts as counts_of
from wina_amp.allocation.loss.divergence import Divergence
from wina_amp.allocation.loss.gradients import HALF_WIDTH, LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.allocation.loss.straight_through import Band
from wina_amp.capture.passes import group_counts
from wina_amp.histograms.thresholds import thresholds
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED
from wina_amp.scoring.criteria import column_norms
from wina_amp.scoring.learned_weights import attach

CRITERION = "wina"
PREFIX = 1
ROUNDING = 2e-3
"""Of the largest gradient: float32 gradients of random models; batched and padded here, one text at a time there."""


def _setup(kind: str) -> LossInputs:
    loaded = random_model(kind)
    return LossInputs(loaded, texts(), counts_of(loaded, CRITERION), BINS, CRITERION, PREFIX, budget=64)


def _band(counts, sparsity) -> Band:
    limit = float(thresholds(BINS, counts, np.array(sparsity)))
    below, above = limit / HALF_WIDTH, limit * HALF_WIDTH
    low, high = (float(BINS.fraction_at_or_below(counts, score)) for score in (below, above))
    return Band(below, limit, above, high - low)


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_equal_the_slow_transcription(kind: str):
    inputs = _setup(kind)
    loaded, counts, fast = inputs.loaded, inputs.counts, LossGradients(inputs)
    every = projections(loaded.model)
    sparsity = np.random.default_rng(0).uniform(0.2, 0.7, len(every))
    picked = [0, 3, 4, 7, 8, 11]
    by_sparsity = fast.at(sparsity, picked)
    bands = [_band(counts[p.block, p.name], s) for p, s in zip(every, sparsity, strict=True)]
    _, expected = gradients(loaded, [texts()[number] for number in picked], bands, CRITERION, PREFIX)
    np.testing.assert_allclose(by_sparsity, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
    assert (fast.at(sparsity, picked) == by_sparsity).all()


@pytest.mark.parametrize("kind", CONFIGS)
def test_gradients_by_weights_equal_the_slow_transcription(kind: str):
    inputs = replace(_setup(kind), budget=10_000)  # one batch: the threshold follows the scores of a batch
    loaded, counts, fast = inputs.loaded, inputs.counts, LossGradients(inputs)
    every = projections(loaded.model)
    sparsity = np.random.default_rng(0).uniform(0.2, 0.7, len(every))
    picked = [0, 3, 4, 7, 8, 11]
    by_sparsity, by_weight = fast.by_weight(sparsity, picked)
    np.testing.assert_allclose(by_sparsity, fast.at(sparsity, picked), rtol=1e-5, atol=1e-9)
    bands = [_band(counts[p.block, p.name], s) for p, s in zip(every, sparsity, strict=True)]
    _, _, expected = all_gradients(loaded, [texts()[number] for number in picked], bands, CRITERION, PREFIX)
    for fast_gradient, slow in zip(by_weight, expected, strict=True):
        torch.testing.assert_close(fast_gradient, slow, rtol=0, atol=ROUNDING * float(slow.abs().max()))


def test_thresholds_follow_other_histograms_and_weights_that_have_changed():
    inputs = replace(_setup("llama"), criterion=LEARNED)
    projected, weights = projections(inputs.loaded.model), {}
    for p in projected:
        weights[p.block, p.name] = column_norms(p.module.weight)
    attach(inputs.loaded.model, weights)
    fast, sparsity, every = LossGradients(inputs), np.full(len(projected), 0.5), range(len(texts()))
    before = fast.at(sparsity, every)
    attach(inputs.loaded.model, {key: 2 * values for key, values in weights.items()})
    groups = np.zeros(len(texts()), np.int64)
    options = {"criterion": LEARNED, "bins": BINS, "dense_prefix": PREFIX, "budget": 64}
    (counts,) = group_counts(inputs.loaded, texts(), groups, **options)
    fast.masked_by(counts)
    first = LossGradients(replace(inputs, counts=counts))
    np.testing.assert_array_equal(fast.at(sparsity, every), first.at(sparsity, every))
    attach(inputs.loaded.model, weights)
    fast.masked_by(inputs.counts)
    np.testing.assert_array_equal(fast.at(sparsity, every), before)


def test_the_gradients_of_single_texts_are_those_of_the_slow_transcription_and_sum_to_those_of_all():
    inputs = _setup("llama")
    loaded, counts, fast = inputs.loaded, inputs.counts, LossGradients(inputs)
    every = projections(loaded.model)
    sparsity = np.random.default_rng(0).uniform(0.2, 0.7, len(every))
    by_text = fast.by_text(sparsity)
    assert by_text.shape == (len(texts()), len(every))
    bands = [_band(counts[p.block, p.name], s) for p, s in zip(every, sparsity, strict=True)]
    positions = [len(text.answer_ids) for text in texts()]
    for number in (0, 5, 9):
        _, mean = gradients(loaded, [texts()[number]], bands, CRITERION, PREFIX)
        expected = mean * positions[number]
        np.testing.assert_allclose(by_text[number], expected, rtol=0, atol=ROUNDING * np.abs(expected).max())
    mean = fast.at(sparsity, range(len(texts())))
    np.testing.assert_allclose(by_text.sum(axis=0), mean * sum(positions), rtol=1e-9, atol=1e-12)


def test_the_model_is_left_as_it_was():
    inputs = _setup("llama")
    loaded, fast = inputs.loaded, LossGradients(inputs)
    parameter = next(iter(loaded.model.parameters())).requires_grad_()
    fast.at(np.full(len(projections(loaded.model)), 0.5), range(len(texts())))
    assert parameter.requires_grad and parameter.grad is None
    assert not any(p.module._forward_pre_hooks for p in projections(loaded.model))


def test_masking_more_of_everything_is_uphill():
    inputs = _setup("llama")
    losses, sparsity = Divergence(inputs).losses, np.full(len(projections(inputs.loaded.model)), 0.3)
    gradient = LossGradients(inputs).at(sparsity, range(len(texts())))
    assert gradient.sum() > 0 and losses(sparsity + 0.1).sum() > losses(sparsity).sum()


def test_minibatches_give_the_gradients_of_their_texts():
    inputs = _setup("llama")
    fast, sparsity = LossGradients(inputs), np.full(len(projections(inputs.loaded.model)), 0.4)
    asked = fast.on_minibatches(range(12), 5, seed=2)
    first, second = asked(sparsity, 0), asked(sparsity, 1)
    assert not np.array_equal(first, second) and np.array_equal(first, asked(sparsity, 0))
    whole = fast.on_minibatches([0, 5, 7], 100, seed=2)(sparsity, 3)
    np.testing.assert_array_equal(whole, fast.at(sparsity, [0, 5, 7]))
    assert torch.is_grad_enabled()


def test_gradients_do_not_depend_on_what_was_asked_before():
    inputs = _setup("llama")
    sparsity = np.full(len(projections(inputs.loaded.model)), 0.4)
    fresh, used = LossGradients(inputs), LossGradients(inputs)
    used.at(sparsity, [1, 4, 9])
    used.at(sparsity, [0, 2])
    np.testing.assert_array_equal(used.at(sparsity, [2, 4, 6]), fresh.at(sparsity, [2, 4, 6]))
