"""`stages.weights`, and what `stages.inputs.model` makes of its out: nothing unless asked for, resumed, the same by any
number
of processes, on every model that a stage loads afterwards."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline.allocation.feature_weights import learning_gradients
from pipeline.allocation.feature_weights.learning_gradients import LearningGradients
from pipeline.config import params
from pipeline.executors.processes import PROCESSES
from pipeline.storage.schemas import ALLOCATION_COSTS, FEATURE_WEIGHTS, SAMPLES
from stages import manifest
from stages import weights as stage
from stages.inputs.model import FEATURE_WEIGHTS_PATH, load_model, load_unweighted, model_identity, unweighted_identity
from tests.stages.test_group_stages import sample_rows
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import column_norms
from wina_amp.scoring.learned_weights import learned

ROOT = Path(__file__).parents[2]
LARGE = learning_gradients.CHUNK


@pytest.fixture
def settings(tiny_llama, tmp_path, monkeypatch):
    """Settings for the tiny model and a short run; the current folder has its samples."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setenv(PROCESSES, "1")
    monkeypatch.setattr(learning_gradients, "CHUNK", 4)
    monkeypatch.chdir(tmp_path)
    full = params.load(ROOT / "params.yaml")
    chosen = replace(
        full,
        model=replace(full.model, path=str(tiny_llama), device="cpu"),
        learn=replace(full.learn, targets=(0.5, 0.6), warm_steps=4, steps=19, batch=7),
    )
    manifest.main(chosen)
    SAMPLES.write(sample_rows(), stage.SAMPLES_PATH)
    return chosen


def test_every_projection_gets_weights_that_are_not_its_norms(settings):
    stage.main(settings)
    rows = FEATURE_WEIGHTS.read(FEATURE_WEIGHTS_PATH)
    plain, loaded = load_unweighted(settings.model), load_model(settings.model)
    assert len(rows) == len(projections(loaded.model)) == 14
    table = {(row.block, row.projection): row.weights for row in rows.itertuples()}
    for one in projections(loaded.model):
        assert np.array_equal(learned(one).numpy(), table[one.block, one.name])
        norms = column_norms(one.module.weight)
        assert 0.001 < float((learned(one) / norms).log().abs().max()) < 23 * 2 * settings.learn.weight_rate
    assert all(torch.equal(a, b) for a, b in zip(plain.model.parameters(), loaded.model.parameters(), strict=True))
    cost = ALLOCATION_COSTS.read(stage.COSTS_PATH)
    assert cost["evaluations"].item() == 23 * 2 and cost["tokens"].item() > 0 and cost["seconds"].item() > 0


def test_nothing_is_learned_and_torch_not_loaded_unless_a_criterion_asks(settings, tmp_path):
    text = (ROOT / "params.yaml").read_text().replace("[teal, wina, learned]", "[teal, wina]")
    (tmp_path / "params.yaml").write_text(text.replace("criterion: learned", "criterion: wina"))
    code = (
        "import sys; from pipeline.config import params; from stages import weights; weights.main(params.load());"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert FEATURE_WEIGHTS.read(FEATURE_WEIGHTS_PATH).empty and ALLOCATION_COSTS.read(stage.COSTS_PATH).empty
    assert not any(dict(one.module.named_buffers()) for one in projections(load_model(settings.model).model))


def test_a_crash_loses_the_last_steps_only_and_the_end_is_the_same(settings, monkeypatch):
    stage.main(settings)
    whole = Path(FEATURE_WEIGHTS_PATH).read_bytes()
    cost = ALLOCATION_COSTS.read(stage.COSTS_PATH)
    other = replace(settings, seed=settings.seed)
    for state in Path(".scratch").rglob("state.json"):
        state.unlink()
    answer, asked = LearningGradients.answer, []

    def crash(self, ask):
        if ask.step == 17 and len(asked) < 40:
            asked.append(ask)
            raise RuntimeError("power cut")
        asked.append(ask)
        return answer(self, ask)

    monkeypatch.setattr(LearningGradients, "answer", crash)
    with pytest.raises(RuntimeError, match="power cut"):
        stage.main(other)
    asked[:] = [None] * 40
    stage.main(other)
    assert Path(FEATURE_WEIGHTS_PATH).read_bytes() == whole
    assert {one.step for one in asked[40:]} == set(range(10, 23))
    again = ALLOCATION_COSTS.read(stage.COSTS_PATH)
    assert again["evaluations"].item() == cost["evaluations"].item()
    assert again["tokens"].item() == pytest.approx(cost["tokens"].item())


def test_two_processes_find_the_same_weights(settings, monkeypatch):
    """Spawned processes have the CHUNK of the file, so there must be more texts than it."""
    monkeypatch.setattr(learning_gradients, "CHUNK", LARGE)
    rows = [sample_rows().assign(sample_id=lambda one, n=n: one["sample_id"] + f"/{n}") for n in range(3)]
    SAMPLES.write(pd.concat(rows, ignore_index=True), stage.SAMPLES_PATH)
    pieces = replace(settings, learn=replace(settings.learn, warm_steps=1, steps=2, batch=60))
    found = []
    for count in ("1", "2"):
        monkeypatch.setenv(PROCESSES, count)
        for state in Path(".scratch").rglob("state.json"):
            state.unlink()
        stage.main(pieces)
        found.append(Path(FEATURE_WEIGHTS_PATH).read_bytes())
    assert found[0] == found[1]


def test_a_model_with_other_weights_is_another_model(settings):
    before = model_identity(settings.model)
    stage.main(settings)
    after = model_identity(settings.model)
    assert before != after and unweighted_identity(settings.model).items() <= after.items()
