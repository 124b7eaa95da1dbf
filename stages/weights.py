"""weights: train texts and the model -> what every input feature is worth, if a criterion asks for learned weights.

Every tenth step is kept, so a crash loses at most ten. Where `capture.criteria` does not list `learned` no model is
loaded, and the tables have no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
from tqdm import tqdm

from pipeline.allocation.calibration.cost import Cost, Meter, MeteredStore
from pipeline.config.params import LEARNED, Settings
from pipeline.executors.processes import Crew, crew
from pipeline.storage.schemas import ALLOCATION_COSTS, FEATURE_WEIGHTS, SAMPLES
from pipeline.storage.scratch import JsonParts, Scratch, file_digest
from pipeline.tokens.samples import TokenizedSample, tokenized_samples
from stages.inputs.model import FEATURE_WEIGHTS_PATH, load_unweighted, model_processes, unweighted_identity
from stages.run import run, start_logging

if TYPE_CHECKING:
    from numpy import ndarray

    from pipeline.allocation.feature_weights.learning_gradients import Answer, Ask, LearningGradients

SAMPLES_PATH = "data/samples.parquet"
COSTS_PATH = "data/feature_weights.costs.parquet"

KEPT_EVERY = 10
"""Steps between two states that are stored."""


def main(settings: Settings) -> None:
    """Write `feature_weights`, and what they cost."""
    if LEARNED not in settings.capture.criteria:
        FEATURE_WEIGHTS.write(FEATURE_WEIGHTS.arrow_schema.empty_table(), FEATURE_WEIGHTS_PATH)
        ALLOCATION_COSTS.write(ALLOCATION_COSTS.arrow_schema.empty_table(), COSTS_PATH)
        return
    rows, cost = _learned(settings)
    FEATURE_WEIGHTS.write(rows, FEATURE_WEIGHTS_PATH)
    # The table's name stands where that of a profile set does.
    ALLOCATION_COSTS.write(pd.DataFrame([{"profile": FEATURE_WEIGHTS.name, "group": 0, **cost.to_json()}]), COSTS_PATH)


def _learned(settings: Settings) -> tuple[pd.DataFrame, Cost]:
    from pipeline.allocation.feature_weights.learning import Plan, State, learn, result, start

    learning = settings.learn
    plan = Plan(
        learning.targets, learning.warm_steps, learning.steps, learning.rate, learning.weight_rate, learning.decay
    )
    total = plan.warm_steps + plan.steps
    fingerprint = {
        "samples": file_digest(SAMPLES_PATH),
        "model": unweighted_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "learn": asdict(learning),
        "mantissa_bits": settings.capture.mantissa_bits,
        "seed": settings.seed,
    }
    with (
        Scratch("weights", fingerprint) as parts,
        crew(partial(_bench, settings), model_processes(settings.model)) as ask,
        tqdm(total=total, desc="feature weights", unit="step") as progress,
    ):
        shapes: _Shapes = ask(_shapes, [None])[0]
        meter = Meter()
        store = MeteredStore(JsonParts(parts, ""), meter)
        kept = store.get("state")
        state = start(shapes.features, plan.targets) if kept is None else State.from_json(kept)
        progress.update(state.step)
        gradients = _Gradients(ask, shapes, meter)
        for following in learn(
            state, shapes.fraction, shapes.features, gradients.together, plan, warm_gradients=gradients.of_sparsities
        ):
            state = following
            progress.update(1)
            if state.step % KEPT_EVERY == 0 or state.step == total:
                store.put("state", state.to_json())
        return pd.DataFrame(ask(_rows, [result(state)])[0]), store.cost


@dataclass(frozen=True)
class _Shapes:
    """What `learn` must know of the model; for `chunks` see `LearningGradients`."""

    features: list[int]
    fraction: ndarray
    chunks: int


class _Gradients:
    """The gradients of a step, from the processes that share it."""

    def __init__(self, ask: Crew[LearningGradients], shapes: _Shapes, meter: Meter) -> None:
        self._ask, self._shapes, self._meter = ask, shapes, meter

    def together(self, sparsity: ndarray, log_weights: ndarray, step: int) -> tuple[ndarray, ndarray]:
        """By sparsities and log weights."""
        return self._mean(sparsity, log_weights, step, of_weights=True)

    def of_sparsities(self, sparsity: ndarray, step: int) -> ndarray:
        """By sparsities, with norms as weights."""
        import numpy as np

        return self._mean(sparsity, np.zeros(sum(self._shapes.features)), step, of_weights=False)[0]

    def _mean(self, sparsity: ndarray, log_weights: ndarray, step: int, *, of_weights: bool) -> tuple[ndarray, ndarray]:
        from pipeline.allocation.feature_weights.learning_gradients import Ask, mean

        asked = [Ask(step, chunk, sparsity, log_weights, of_weights) for chunk in range(self._shapes.chunks)]
        answers: list[Answer] = self._ask(_answer, asked)
        for one in answers:
            self._meter.spent(one.cost)
        return mean(answers)


def _bench(settings: Settings) -> LearningGradients:
    """What one process takes gradients with."""
    from pipeline.allocation.feature_weights.learning_gradients import LearningGradients
    from pipeline.histograms.bins import Bins

    start_logging()
    return LearningGradients(
        load_unweighted(settings.model),
        _train_texts(settings),
        bins=Bins(settings.capture.mantissa_bits),
        dense_prefix=settings.tokens.dense_prefix,
        budget=settings.tokens.batch,
        size=settings.learn.batch,
        seed=settings.seed,
    )


def _shapes(bench: LearningGradients, _nothing: None) -> _Shapes:
    return _Shapes(bench.features, bench.fraction, bench.chunks)


def _answer(bench: LearningGradients, asked: Ask) -> Answer:
    return bench.answer(asked)


def _rows(bench: LearningGradients, log_weights: ndarray) -> list[dict[str, Any]]:
    found = bench.weights(log_weights)
    return [{"block": block, "projection": name, "weights": one.numpy()} for (block, name), one in found.items()]


def _train_texts(settings: Settings) -> Sequence[TokenizedSample]:
    from pipeline.allocation.calibration.texts import seeded_order

    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    return seeded_order(tokenized_samples(samples[samples["split"] == "train"]), settings.seed)


if __name__ == "__main__":
    run(main)
