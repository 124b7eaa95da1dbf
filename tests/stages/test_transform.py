"""`stages.transform`, and what `stages.inputs.model` makes of its out: computed once, resumed, checked, identified."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.storage.schemas import ALLOCATIONS, PROFILES, ROUTES
from pipeline.storage.scratch import file_digest
from stages import manifest
from stages import transform as stage
from stages.inputs import model, paths
from stages.inputs.model import ROTATION_FACTS, load_model, model_gpus
from tests.settings import full as full_settings
from tests.stages.test_group_stages import run_all
from wina_amp.errors import UserError
from wina_amp.models import transform as library
from wina_amp.models.manifest import read as read_manifest
from wina_amp.models.rotation import rotated_widths

ROOT = Path(__file__).parents[2]
IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))
FLOAT32 = 1e-4
"""Largest difference of two logits relative to their RMS; see tests/wina_amp/models/test_transform.py."""


@pytest.fixture
def settings(tiny_llama, tmp_path, monkeypatch):
    """Settings for the tiny model, transformed; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    full = full_settings()
    chosen = replace(full, model=replace(full.model, path=str(tiny_llama), device="cpu", transform="orthogonal"))
    manifest.main(chosen)
    return chosen


def _plain(settings):
    return replace(settings, model=replace(settings.model, transform="none"))


def _logits(loaded):
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits


def test_the_stage_writes_a_file_per_block_and_what_they_are_for(settings):
    stage.main(settings)
    assert sorted(path.name for path in Path(paths.ROTATIONS).iterdir()) == [
        "00000.safetensors",
        "00001.safetensors",
        ROTATION_FACTS,
    ]
    facts = json.loads(Path(paths.ROTATIONS, ROTATION_FACTS).read_text())
    digest = read_manifest(paths.MANIFEST).digest
    assert facts == {"transform": "orthogonal", "checkpoint": digest, "dtype": "float32"}
    assert not list(Path(".scratch").rglob("*.safetensors"))


def test_a_loaded_model_is_rotated_and_still_the_same_model(settings):
    stage.main(settings)
    plain, loaded = load_model(_plain(settings).model), load_model(settings.model)
    assert rotated_widths(plain) == () and rotated_widths(loaded) == (32,) * 4
    dense = _logits(plain)
    assert float((_logits(loaded) - dense).abs().max()) <= FLOAT32 * float(dense.square().mean().sqrt())


def test_none_writes_just_the_note_and_replaces_what_was_there(settings):
    stage.main(settings)
    stage.main(_plain(settings))
    assert [path.name for path in Path(paths.ROTATIONS).iterdir()] == [ROTATION_FACTS]
    assert json.loads(Path(paths.ROTATIONS, ROTATION_FACTS).read_text())["transform"] == "none"


def test_none_imports_no_torch(settings, tmp_path):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    code = (
        "import sys; from pipeline.config import params; from stages import transform; transform.main(params.load());"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, check=True)
    assert (tmp_path / paths.ROTATIONS / ROTATION_FACTS).is_file()


def test_an_interrupted_run_resumes_with_the_missing_blocks_and_ends_in_the_same_bytes(settings, monkeypatch):
    stage.main(settings)
    expected = file_digest(paths.ROTATIONS)
    original, computed = library.block_bases, []

    def interrupted(loaded, block):
        if block == 1:
            raise KeyboardInterrupt
        return original(loaded, block)

    def counted(loaded, block):
        computed.append(block)
        return original(loaded, block)

    monkeypatch.setattr(library, "block_bases", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.main(settings)
    monkeypatch.setattr(library, "block_bases", counted)
    stage.main(settings)
    assert computed == [1]
    assert file_digest(paths.ROTATIONS) == expected


def test_missing_rotations_and_those_of_another_model_are_refused(settings):
    with pytest.raises(UserError, match=r"must be those of the model.*FileNotFoundError.*facts\.json.*dvc repro"):
        load_model(settings.model)
    stage.main(_plain(settings))
    with pytest.raises(UserError, match=r"must be those of the model.*'orthogonal'.*Found:.*'none'"):
        load_model(settings.model)
    stage.main(settings)
    with pytest.raises(UserError, match=r"must be those of the model.*'bfloat16'.*Found:.*'float32'"):
        load_model(replace(settings.model, dtype="bfloat16"))


def test_every_stage_that_runs_the_model_runs_it_transformed(settings):
    small = replace(
        settings,
        tokens=replace(settings.tokens, batch=100),
        cluster=replace(settings.cluster, count=3),
        allocate=replace(settings.allocate, greedy_step=0.5, greedy_tokens=40),
        learn=replace(settings.learn, targets=(0.5, 0.65), warm_steps=2, steps=3, batch=6),
    )
    flops = {}
    for chosen in (_plain(small), small):
        stage.main(chosen)
        run_all(chosen, ("wina", "greedy", "clustered"))
        routes = ROUTES.read(paths.routes("scores"))
        flops[chosen.model.transform] = routes["flops"].to_numpy()
    per_token = 2 * (2 * 32 * 32)
    tokens = (flops["orthogonal"] - flops["none"]) / per_token
    assert tokens.min() == 6 and tokens.max() == 10
    thresholds = PROFILES.read(paths.profiles("wina"))
    ks = thresholds[(thresholds["projection"] == "k") & (thresholds["target"] == 0.4)]
    assert (ks["threshold"] == 0).all()  # half of k's inputs are in its null space
    greedy = ALLOCATIONS.read(paths.allocations("greedy"))
    assert (greedy["predicted_error"] > 0).all()


def test_processes_share_the_gpus_of_the_type_of_the_first_unless_the_model_is_spread(monkeypatch):
    names = ["NVIDIA H100", "NVIDIA A100", "NVIDIA H100"]
    monkeypatch.setattr(model, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", names.__getitem__)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert model_gpus("auto") == model_gpus("cuda") == ["0", "2"]
    assert model_gpus("cpu") == model_gpus("spread") == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b,GPU-c")
    assert model_gpus("auto") == ["GPU-a", "GPU-c"]
