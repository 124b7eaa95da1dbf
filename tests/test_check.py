"""What `make repro` finds before DVC starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Settings, load
from pipeline.errors import UserError
from stages.check import REFERENCE_MODEL, main

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The committed settings, in a folder where everything they need exists."""
    monkeypatch.chdir(tmp_path)
    committed = load(ROOT / "params.yaml")
    for folder in (committed.model.path, REFERENCE_MODEL, committed.benchmark.include):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return committed


def test_nothing_is_said_when_all_is_there(settings: Settings):
    main(settings)


@pytest.mark.parametrize("path", ["data/refrence/model", "./model", "/models/llama", "model"])
def test_a_missing_model_folder_is_named(settings: Settings, path: str):
    with pytest.raises(UserError, match=r"must be a folder or a hub id.*no such folder"):
        main(replace(settings, model=replace(settings.model, path=path)))


def test_a_hub_id_needs_a_revision(settings: Settings):
    hub = replace(settings.model, path="meta-llama/Meta-Llama-3-8B")
    with pytest.raises(UserError, match=r"pinned `model\.revision`"):
        main(replace(settings, model=hub))
    main(replace(settings, model=replace(hub, revision="62bd457")))


def test_a_missing_reference_model_is_named_because_dvc_watches_it(settings: Settings):
    REFERENCE_MODEL.rmdir()
    hub = replace(settings.model, path="meta-llama/Meta-Llama-3-8B", revision="62bd457")
    with pytest.raises(UserError, match="reference model must exist"):
        main(replace(settings, model=hub))


def test_a_missing_folder_of_tasks_is_named(settings: Settings):
    with pytest.raises(UserError, match=r"task files must exist.*data/tasks"):
        main(replace(settings, benchmark=replace(settings.benchmark, include="data/tasks")))
