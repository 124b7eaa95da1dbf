"""weights: train texts and the model -> a weight for every input feature, if a criterion asks for learned weights.

Every tenth step is stored, so a crash loses at most ten. Where `capture.criteria` does not list `learned` no model is
loaded, and the tables have no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from pipeline.config.params import Settings
from pipeline.executors.pool import Advance, Pool
from pipeline.storage.parts import JsonParts
from pipeline.storage.schemas import ALLOCATION_COSTS, FEATURE_WEIGHTS, SAMPLES
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_unweighted
from stages.inputs.workers import model_workers
from wina_amp.allocation.calibration.cost import Cost, Meter, MeteredStore
from wina_amp.names import LEARNED
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

if TYPE_CHECKING:
    from numpy import ndarray

    from wina_amp.allocation.feature_weights.learning_gradients import ChunkGradients, ChunkTask, LearningGradients


STORED_EVERY = 10
"""Steps between two states that are stored."""


def main(settings: Settings) -> None:
    """Write `feature_weights` and their cost."""
    if LEARNED not in settings.capture.criteria:
        FEATURE_WEIGHTS.write(FEATURE_WEIGHTS.arrow_schema.empty_table(), paths.FEATURE_WEIGHTS)
        ALLOCATION_COSTS.write(ALLOCATION_COSTS.arrow_schema.empty_table(), paths.FEATURE_WEIGHTS_COSTS)
        return
    rows, cost = _learned(settings)
    FEATURE_WEIGHTS.write(rows, paths.FEATURE_WEIGHTS)
    # The table's name stands where that of a profile set does.
    costs = pd.DataFrame([{"profile": FEATURE_WEIGHTS.name, "group": 0, **cost.columns()}])
    ALLOCATION_COSTS.write(costs, paths.FEATURE_WEIGHTS_COSTS)


def _learned(settings: Settings) -> tuple[pd.DataFrame, Cost]:
    from wina_amp.allocation.feature_weights.learning import Plan, State, learn, result, start

    learning = settings.learn
    plan = Plan(
        learning.targets, learning.warm_steps, learning.steps, learning.rate, learning.weight_rate, learning.decay
    )
    # Weights do not depend on which other criteria there are.
    fingerprint = Fingerprint(settings, "weights")
    with (
        fingerprint.scratch({"capture.criteria": None}) as parts,
        model_workers(partial(_worker, settings), fingerprint, settings.model) as pool,
        tqdm(total=plan.all_steps, desc="feature weights", unit="step") as progress,
    ):
        [(features, fraction, chunks)] = pool.map(_shapes, [None])
        meter = Meter()
        store = MeteredStore(JsonParts(parts), meter)
        stored = store.get("state")
        state = start(features, plan.targets) if stored is None else State.from_json(stored)
        progress.update(state.step)
        gradients = _Gradients(pool, sum(features), chunks, meter)
        for following in learn(
            state, fraction, features, gradients.together, plan, warm_gradients=gradients.of_sparsities
        ):
            state = following
            progress.update(1)
            if state.step % STORED_EVERY == 0 or state.step == plan.all_steps:
                store.put("state", state.to_json())
        [rows] = pool.map(_rows, [result(state)])
        return pd.DataFrame(rows), store.cost


class _Gradients:
    """The gradients of a step; its chunks are the tasks of the pool."""

    def __init__(self, pool: Pool[LearningGradients], features: int, chunks: int, meter: Meter) -> None:
        self._pool, self._features, self._chunks, self._meter = pool, features, chunks, meter

    def together(self, sparsity: ndarray, log_weights: ndarray, step: int) -> tuple[ndarray, ndarray]:
        """By sparsities and log weights."""
        return self._mean(sparsity, log_weights, step, of_weights=True)

    def of_sparsities(self, sparsity: ndarray, step: int) -> ndarray:
        """By sparsities, with norms as weights."""
        import numpy as np

        return self._mean(sparsity, np.zeros(self._features), step, of_weights=False)[0]

    def _mean(self, sparsity: ndarray, log_weights: ndarray, step: int, *, of_weights: bool) -> tuple[ndarray, ndarray]:
        from wina_amp.allocation.feature_weights.learning_gradients import ChunkTask, mean

        tasks = [ChunkTask(step, chunk, sparsity, log_weights, of_weights) for chunk in range(self._chunks)]
        chunks = self._pool.map(_chunk_gradients, tasks)
        for chunk in chunks:
            self._meter.spent(chunk.cost)
        return mean(chunks)


def _worker(settings: Settings) -> LearningGradients:
    """The worker of one process: the model and all train texts."""
    from wina_amp.allocation.feature_weights.learning_gradients import LearningGradients
    from wina_amp.histograms.bins import Bins

    return LearningGradients(
        load_unweighted(settings.model),
        _train_texts(settings),
        bins=Bins(settings.capture.mantissa_bits),
        dense_prefix=settings.tokens.dense_prefix,
        budget=settings.tokens.batch,
        size=settings.learn.batch,
        seed=settings.seed,
    )


def _shapes(worker: LearningGradients, _nothing: None, _advance: Advance) -> tuple[list[int], ndarray, int]:
    return worker.features, worker.fraction, worker.chunks


def _chunk_gradients(worker: LearningGradients, task: ChunkTask, _advance: Advance) -> ChunkGradients:
    return worker.chunk_gradients(task)


def _rows(worker: LearningGradients, log_weights: ndarray, _advance: Advance) -> list[dict[str, Any]]:
    by_projection = worker.weights(log_weights)
    return [
        {"block": block, "projection": name, "weights": weights.numpy()}
        for (block, name), weights in by_projection.items()
    ]


def _train_texts(settings: Settings) -> Sequence[TokenizedSample]:
    from wina_amp.allocation.calibration.texts import seeded_order

    samples: Any = SAMPLES.read(paths.SAMPLES, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    train = samples[samples["split"] == "train"]
    texts = tokenized_samples(train)
    return seeded_order(texts, settings.seed)
