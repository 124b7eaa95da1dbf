"""`wina_amp.allocation.feature_weights.learning_gradients`: chunks add up to the gradients of a step, whoever works on
them, in any order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wina_amp.allocation.blocks import BINS, random_model, texts
from wina_amp.allocation.calibration.texts import minibatch
from wina_amp.allocation.feature_weights import learning_gradients as module
from wina_amp.allocation.feature_weights.learning_gradients import ChunkTask, LearningGradients, mean
from wina_amp.allocation.loss.gradients import LossGradients
from wina_amp.allocation.loss.loss_inputs import LossInputs
from wina_amp.capture.passes import group_counts
from wina_amp.models.projections import projections
from wina_amp.names import LEARNED
from wina_amp.scoring.criteria import column_norms
from wina_amp.scoring.learned_weights import attach, learned

PREFIX, BUDGET, SEED = 1, 64, 3
ROUNDING = 1e-6
"""Float32 sums of a chunk, in the same batches."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "COUNTED", 3)


def _worker(size=10):
    loaded = random_model("llama")
    return LearningGradients(
        loaded, texts(), bins=BINS, dense_prefix=PREFIX, budget=BUDGET, size=size, seed=SEED
    ), loaded


def _tasks(worker, step=2, of_weights=True):
    rng = np.random.default_rng(0)
    sparsity = rng.uniform(0.2, 0.7, len(worker.features))
    log_weights = rng.normal(0, 0.2, sum(worker.features))
    return [ChunkTask(step, chunk, sparsity, log_weights, of_weights) for chunk in range(worker.chunks)]


def test_a_chunk_has_the_gradients_of_its_texts_masked_by_its_own_scores():
    worker, loaded = _worker()
    assert worker.chunks == 3 and worker.features == [p.in_features for p in projections(loaded.model)]
    assert worker.fraction.sum() == pytest.approx(1)
    asks = _tasks(worker)
    for task, numbers in zip(asks, np.array_split(minibatch(2, 12, 10, SEED), [4, 8]), strict=True):
        chunk = worker.chunk_gradients(task)
        own = random_model("llama")
        attach(own.model, worker.weights(task.log_weights))
        chosen = [texts()[number] for number in numbers]
        options = {"criterion": LEARNED, "bins": BINS, "dense_prefix": PREFIX, "budget": BUDGET}
        (counts,) = group_counts(own, chosen[:3], np.zeros(len(chosen[:3]), np.int64), **options)
        gradients = LossGradients(LossInputs(own, texts(), counts, BINS, LEARNED, PREFIX, BUDGET))
        by_sparsity, by_weight = gradients.by_weight(task.sparsity, list(numbers))
        positions = sum(len(text.answer_ids) for text in chosen)
        assert chunk.positions == positions
        np.testing.assert_allclose(chunk.by_sparsity, by_sparsity * positions, rtol=ROUNDING)
        flat = torch.cat(by_weight).double().numpy()
        np.testing.assert_allclose(chunk.by_weight, flat * positions, rtol=ROUNDING, atol=1e-9)


def test_a_step_is_the_mean_over_the_positions_of_its_chunks_in_any_order():
    worker, other = _worker()[0], _worker()[0]
    chunks = [worker.chunk_gradients(task) for task in _tasks(worker)]
    backwards = [other.chunk_gradients(task) for task in reversed(_tasks(other))][::-1]
    for forwards, again in zip(mean(chunks), mean(backwards), strict=True):
        assert np.array_equal(forwards, again)
    positions = sum(chunk.positions for chunk in chunks)
    np.testing.assert_allclose(mean(chunks)[0], sum(chunk.by_sparsity for chunk in chunks) / positions)


def test_gradients_by_weights_are_left_out_where_nobody_asks_and_those_by_sparsities_are_the_same():
    worker, _ = _worker()
    full, part = worker.chunk_gradients(_tasks(worker)[1]), worker.chunk_gradients(_tasks(worker, of_weights=False)[1])
    assert (part.by_weight == 0).all() and (full.by_weight != 0).any()
    np.testing.assert_allclose(part.by_sparsity, full.by_sparsity, rtol=ROUNDING)
    assert part.cost.tokens == full.cost.tokens > 0 and part.cost.evaluations == 1


def test_weights_are_norms_times_exp_and_lie_on_the_model():
    worker, loaded = _worker()
    task = _tasks(worker)[0]
    worker.chunk_gradients(task)
    start = 0
    for p in projections(loaded.model):
        factors = torch.from_numpy(task.log_weights[start : start + p.in_features]).exp()
        start += p.in_features
        torch.testing.assert_close(learned(p), (column_norms(p.module.weight) * factors).float())


def test_fewer_texts_than_a_mini_batch_are_all_used():
    assert _worker(size=500)[0].chunks == 3
