"""`pipeline.estimate.space` and `workload`: the embedded run's sizes come out again; the hungriest stage counts."""

from __future__ import annotations

import json
from pathlib import Path

import lm_eval.tasks
import numpy as np
import pandas as pd
import pytest

from pipeline.compute.sizes import sizes_of
from pipeline.estimate import space as module
from pipeline.estimate.space import space
from pipeline.estimate.workload import ASSUMED_ANSWERS, ASSUMED_TOKENS, Workload, assumed, from_samples
from wina_amp.histograms.bins import Bins

REFERENCE = Path(__file__).resolve().parents[3] / "data" / "reference" / "model"
SIZES = sizes_of(json.loads((REFERENCE / "config.json").read_text()))

MEASURED = {"histograms": 7_025_005, "signatures": 4_667_484, "results": 40_564 + 8 * 217_000}
"""Bytes of the runs of 2026-11-24 (results) and 2026-11-25 (capture alone): 672 train and 1,568 test samples, two
criteria, 33 evaluations."""

CLOSE = 0.1
"""The estimate's constants were read off that run; this holds the arithmetic to it."""


def _embedded() -> Workload:
    load = assumed(["task"], {"train": 672, "test": 1568})
    return Workload(np.full(2240, 55), np.full(2240, 8), np.full(2240, 4), load.is_train, load.is_generated, tasks=14)


def _space(**changes: int) -> module.Space:
    options = {
        "criteria": 2,
        "bins": Bins(4).count,
        "signature_dim": 32,
        "evaluated": 33 * 2240,
        "batch": 2048,
        "greedy_tokens": 256,
        "bytes_per_number": 4,
    }
    return space(SIZES, _embedded(), **(options | changes))


def test_tables_of_the_embedded_run_come_out_as_they_were():
    needed = _space()
    for name, size in MEASURED.items():
        assert getattr(needed, name) == pytest.approx(size, rel=CLOSE)
    assert needed.weights == pytest.approx((REFERENCE / "model.safetensors").stat().st_size, rel=0.01)


def test_working_memory_is_that_of_the_hungriest_stage_and_halves_with_half_the_bytes_for_greedy():
    assert _space(greedy_tokens=10**6).working == SIZES.blocks * SIZES.hidden * 10**6 * 9 * 4
    assert _space(greedy_tokens=10**6, bytes_per_number=2).working == SIZES.blocks * SIZES.hidden * 10**6 * 9 * 2
    assert _space(greedy_tokens=0).working == _space().working > 0
    assert _space(batch=4096).working > _space().working


def test_a_table_of_samples_becomes_tokens():
    samples = pd.DataFrame(
        {
            "task": ["a", "a", "b"],
            "split": ["train", "test", "test"],
            "kind": ["choice", "choice", "generation"],
            "choices": [["x", "y"], ["x", "y", "z"], []],
            "answer_ids": [np.arange(1), np.arange(3), np.arange(5)],
            "n_tokens": [10, 11, 12],
        }
    )
    load = from_samples(samples)
    assert (
        load.prompts.tolist() == [10, 11, 12]
        and load.answers.tolist() == [0, 6, 5]
        and load.right.tolist() == [1, 3, 5]
    )
    assert load.is_train.tolist() == [True, False, False] and load.is_generated.tolist() == [False, False, True]
    assert load.tasks == 2 and not load.is_assumed


def test_without_samples_every_task_has_all_it_may_have():
    load = assumed(["a", "b"], {"train": 3, "test": 5})
    assert load.samples == 16 and int(load.is_train.sum()) == 6 and load.is_assumed
    assert set(load.prompts) == {ASSUMED_TOKENS} and set(load.answers) == {ASSUMED_ANSWERS}


def test_mmlu_is_assumed_to_be_as_many_tasks_as_lm_eval_has():
    files = list((Path(lm_eval.tasks.__file__).parent / "mmlu" / "default").glob("mmlu_*.yaml"))
    load = assumed(["piqa", "mmlu"], {"train": 2, "test": 3})
    assert load.tasks == 1 + len(files) and load.samples == 5 * (1 + len(files))
