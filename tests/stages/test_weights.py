"""`stages.weights`: no rows unless asked for, resumed, the same with any number of processes, and attached to every
model that `stages.inputs.model` loads afterwards."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.executors.processes import PROCESSES
from pipeline.storage.schemas import ALLOCATION_COSTS, FEATURE_WEIGHTS, SAMPLES
from stages import manifest
from stages import weights as stage
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import load_model, load_unweighted
from tests.settings import full as full_settings
from tests.settings import full_text
from tests.stages.test_group_stages import sample_rows
from wina_amp.allocation.feature_weights import learning_gradients
from wina_amp.allocation.feature_weights.learning_gradients import LearningGradients
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import column_norms
from wina_amp.scoring.learned_weights import learned

ROOT = Path(__file__).parents[2]
LARGE = learning_gradients.CHUNK


@pytest.fixture
def settings(tiny_llama, tmp_path, monkeypatch):
    """Settings for the tiny model and a short run; the current folder has its samples."""
    monkeypatch.setattr(learning_gradients, "CHUNK", 4)
    monkeypatch.chdir(tmp_path)
    full = full_settings()
    chosen = replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        learn=replace(full.learn, targets=(0.5, 0.6), warm_steps=4, steps=19, batch=7),
    )
    manifest.main(chosen)
    SAMPLES.write(sample_rows(), paths.SAMPLES)
    return chosen


def test_every_projection_gets_weights_that_are_not_its_norms(settings):
    stage.main(settings)
    rows = FEATURE_WEIGHTS.read(paths.FEATURE_WEIGHTS)
    plain, loaded = load_unweighted(settings.model), load_model(settings.model)
    assert len(rows) == len(projections(loaded.model)) == 14
    table = {(row.block, row.projection): row.weights for row in rows.itertuples()}
    for projection in projections(loaded.model):
        assert np.array_equal(learned(projection).numpy(), table[projection.block, projection.name])
        norms = column_norms(projection.module.weight)
        assert 0.001 < float((learned(projection) / norms).log().abs().max()) < 23 * 2 * settings.learn.weight_rate
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), loaded.model.parameters(), strict=True))
    cost = ALLOCATION_COSTS.read(paths.FEATURE_WEIGHTS_COSTS)
    assert cost["evaluations"].item() == 23 * 2 and cost["tokens"].item() > 0


def test_nothing_is_learned_and_torch_not_loaded_unless_a_criterion_asks(settings, tmp_path):
    text = full_text().replace("[teal, wina, learned]", "[teal, wina]")
    (tmp_path / "params.yaml").write_text(text.replace("criterion: learned", "criterion: wina"))
    code = (
        "import sys; from pipeline.config import params; from stages import weights; weights.main(params.load());"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert FEATURE_WEIGHTS.read(paths.FEATURE_WEIGHTS).empty
    assert ALLOCATION_COSTS.read(paths.FEATURE_WEIGHTS_COSTS).empty
    model = load_model(settings.model).model
    assert not any(dict(projection.module.named_buffers()) for projection in projections(model))


def test_a_crash_loses_the_last_steps_only_and_the_end_is_the_same(settings, monkeypatch):
    stage.main(settings)
    whole = Path(paths.FEATURE_WEIGHTS).read_bytes()
    cost = ALLOCATION_COSTS.read(paths.FEATURE_WEIGHTS_COSTS)
    other = replace(settings, seed=settings.seed)
    for state in Path(".scratch").rglob("state.json"):
        state.unlink()
    gradients, tasks = LearningGradients.chunk_gradients, []

    def crash(self, task):
        if task.step == 17 and len(tasks) < 40:
            tasks.append(task)
            raise RuntimeError("power cut")
        tasks.append(task)
        return gradients(self, task)

    monkeypatch.setattr(LearningGradients, "chunk_gradients", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        stage.main(other)
    tasks[:] = [None] * 40
    stage.main(other)
    assert Path(paths.FEATURE_WEIGHTS).read_bytes() == whole
    assert {task.step for task in tasks[40:]} == set(range(10, 23))
    again = ALLOCATION_COSTS.read(paths.FEATURE_WEIGHTS_COSTS)
    assert again["evaluations"].item() == cost["evaluations"].item()
    assert again["tokens"].item() == pytest.approx(cost["tokens"].item())


def test_two_processes_find_the_same_weights(settings, monkeypatch):
    """Spawned processes have the CHUNK of the file, so there must be more texts than it."""
    monkeypatch.setattr(learning_gradients, "CHUNK", LARGE)
    rows = [sample_rows().assign(sample_id=lambda table, n=n: table["sample_id"] + f"/{n}") for n in range(3)]
    SAMPLES.write(pd.concat(rows, ignore_index=True), paths.SAMPLES)
    short = replace(settings, learn=replace(settings.learn, warm_steps=1, steps=2, batch=60))
    written = []
    for count in ("1", "2"):
        monkeypatch.setenv(PROCESSES, count)
        for state in Path(".scratch").rglob("state.json"):
            state.unlink()
        stage.main(short)
        written.append(Path(paths.FEATURE_WEIGHTS).read_bytes())
    assert written[0] == written[1]


def test_parts_of_a_model_with_other_weights_are_not_picked_up_but_those_of_the_weights_themselves_are(settings):
    captured, learned_before = (Fingerprint(settings, stage).values for stage in ("capture", "weights"))
    stage.main(settings)
    assert Fingerprint(settings, "capture").values != captured
    assert Fingerprint(settings, "weights").values == learned_before
