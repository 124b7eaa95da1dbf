"""`stages.inputs.workers`: the environment chooses the workers, and what they need is what the stage depends on."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.executors.pool import EXECUTOR
from pipeline.executors.processes import PROCESSES, WorkerPool
from pipeline.executors.ray_pool import Needs, RayPool
from stages import manifest
from stages.inputs import environment, paths, snapshot
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import model_bytes
from stages.inputs.workers import expected_facts, facts, model_workers
from tests.dvc.deps import ROOT
from tests.settings import full
from wina_amp.errors import UserError


@pytest.fixture
def settings(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Those of the tiny model, whose manifest is in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(environment.GPU, raising=False)
    settings = replace(full(), model=replace(full().model, path=str(tiny_llama), device="cpu"))
    manifest.main(settings)
    return settings


def _pool(settings: Any, tasks: int | None = None) -> Any:
    return model_workers(dict, Fingerprint(settings, "capture"), settings.model, tasks)


def _needs(settings: Any) -> Needs:
    return _pool(settings)._needs


def test_workers_are_processes_of_this_machine_unless_the_environment_asks_for_ray(
    settings: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(PROCESSES, "3")
    local = _pool(settings, tasks=2)
    assert isinstance(local, WorkerPool) and local.processes == 2
    local.__exit__(None, None, None)
    monkeypatch.setenv(EXECUTOR, "ray")
    assert isinstance(_pool(settings), RayPool)


def test_a_worker_on_ray_reserves_its_cores_and_the_memory_of_the_model(settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(EXECUTOR, "ray")
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert _needs(settings) == Needs(threads=4, memory=model_bytes())


@pytest.mark.parametrize(("given", "gpu", "gpus"), [("H100", "H100", 1), ("H100:2", "H100", 2), ("A10G:08", "A10G", 8)])
def test_the_gpus_of_a_worker_are_those_that_the_environment_names(
    given: str, gpu: str, gpus: int, settings: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(EXECUTOR, "ray")
    monkeypatch.setenv(environment.GPU, given)
    for device in ("auto", "cuda", "spread"):
        needs = _needs(replace(settings, model=replace(settings.model, device=device)))
        assert (needs.gpu, needs.gpus) == (gpu, gpus)
    assert _needs(settings).gpus == 0, "`model.device: cpu` asks for none"


@pytest.mark.tried("cluster", "refused")
@pytest.mark.parametrize("given", ["", ":2", "H100:0", "H100:two", "H100:-1"])
def test_a_gpu_without_a_name_or_number_is_refused(given: str, settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(EXECUTOR, "ray")
    monkeypatch.setenv(environment.GPU, given)
    with pytest.raises(UserError, match=r"must name the GPUs of a worker.*H100:2"):
        _pool(replace(settings, model=replace(settings.model, device="cuda")))


@pytest.mark.tried("cluster", "recomputed")
def test_parts_of_one_type_of_gpu_are_not_continued_on_another(settings: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(EXECUTOR, "ray")
    on_gpu = replace(settings, model=replace(settings.model, device="auto"))
    folders: set[Path] = set()
    for gpu in ("", "H100", "A100"):
        monkeypatch.setenv(environment.GPU, gpu)
        with Fingerprint(on_gpu, "capture").scratch() as parts:
            folders.add(parts.folder)
    assert len(folders) == 3


def test_the_files_of_a_worker_are_all_code_the_stages_data_and_a_checkpoint_of_the_repository(
    settings: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(EXECUTOR, "ray")
    files = _pool(settings)._files
    assert {*snapshot.CODE, paths.SAMPLES, paths.MANIFEST, paths.FEATURE_WEIGHTS} <= files.keys()
    assert files["stages"] == ROOT / "stages" and not any(Path(name).is_absolute() for name in files)
    inside = Path("own/model")
    inside.mkdir(parents=True)
    assert str(inside) in _pool(replace(settings, model=replace(settings.model, path=str(inside))))._files


def test_workers_have_the_drivers_facts_but_for_the_gpu_which_they_compare_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
):
    assert facts("cpu") == expected_facts("cpu") and facts("cpu")["instructions"]
    monkeypatch.setattr(environment, "has_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", partial(str.format, "NVIDIA H100 {}"))
    assert facts("cuda")["device"] == "NVIDIA H100 0" and "instructions" not in facts("cuda")
    assert expected_facts("cuda").keys() == facts("cuda").keys() - {"device"}
