"""What `make repro` finds before DVC starts."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from commands import check
from commands.check import main
from pipeline.config.params import Settings, load
from stages import manifest
from stages.inputs import paths
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The committed settings, in a folder where everything they need exists."""
    monkeypatch.chdir(tmp_path)
    committed = load(ROOT / "params.yaml")
    for folder in (committed.model.path, paths.REFERENCE_MODEL, committed.benchmark.include):
        Path(folder).mkdir(parents=True, exist_ok=True)
    return committed


def test_nothing_is_said_when_all_is_there(settings: Settings):
    main(settings)


@pytest.mark.parametrize("path", ["data/refrence/model", "./model", "/models/llama", "model"])
def test_a_missing_model_folder_is_named(settings: Settings, path: str):
    with pytest.raises(UserError, match=r"must be a folder or a hub id.*no such folder"):
        main(replace(settings, model=replace(settings.model, path=path)))


@pytest.mark.tried("checkpoint", "refused")
def test_a_file_in_the_place_of_the_folder_is_named(settings: Settings, tmp_path: Path):
    (tmp_path / "model.gguf").write_text("")
    with pytest.raises(UserError, match=r"Found: a file.*model\.gguf.*GGUF"):
        main(replace(settings, model=replace(settings.model, path="model.gguf")))


def test_a_hub_id_needs_a_revision(settings: Settings):
    hub = replace(settings.model, path="meta-llama/Meta-Llama-3-8B")
    with pytest.raises(UserError, match=r"pinned `model\.revision`"):
        main(replace(settings, model=hub))
    main(replace(settings, model=replace(hub, revision="62bd457")))


def test_a_missing_reference_model_is_named_because_dvc_watches_it(settings: Settings):
    Path(paths.REFERENCE_MODEL).rmdir()
    hub = replace(settings.model, path="meta-llama/Meta-Llama-3-8B", revision="62bd457")
    with pytest.raises(UserError, match="reference model must exist"):
        main(replace(settings, model=hub))


def test_a_missing_folder_of_tasks_is_named(settings: Settings):
    with pytest.raises(UserError, match=r"task files must exist.*data/tasks"):
        main(replace(settings, benchmark=replace(settings.benchmark, include="data/tasks")))


def test_the_table_of_a_method_that_was_removed_is_moved_out_of_the_folder_that_the_report_reads(settings: Settings):
    table, kept = Path(paths.results("removed")), Path(paths.results("dense"))
    table.parent.mkdir(parents=True)
    table.touch()
    kept.touch()
    main(settings)
    assert not table.exists() and kept.exists() and Path("data/removed/results", table.name).exists()


@pytest.fixture
def elsewhere(settings: Settings, tiny_llama: Path, tmp_path: Path) -> Settings:
    """Settings for a checkpoint in a folder that DVC does not watch, with its manifest."""
    folder = shutil.copytree(tiny_llama, tmp_path / "models" / "tiny")
    found = replace(settings, model=replace(settings.model, path=str(folder)))
    manifest.main(found)
    return found


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever the stage `manifest` would be run by force."""
    runs: list[int] = []
    monkeypatch.setattr(check, "_run_manifest", lambda: runs.append(1))
    return runs


def test_a_checkpoint_that_is_touched_but_not_changed_runs_nothing(elsewhere: Settings, forced: list[int]):
    os.utime(Path(elsewhere.model.path) / "model.safetensors")
    main(elsewhere)
    assert forced == []


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_one_byte_of_a_checkpoint_that_dvc_does_not_watch_runs_the_manifest(
    elsewhere: Settings, forced: list[int], name: str
):
    file = Path(elsewhere.model.path) / name
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    main(elsewhere)
    assert forced == [1]
    manifest.main(elsewhere)
    main(elsewhere)
    assert forced == [1], "the manifest is that of the changed checkpoint now"


def test_nothing_is_forced_where_there_is_no_manifest_yet(elsewhere: Settings, forced: list[int]):
    Path(paths.MANIFEST).unlink()
    main(elsewhere)
    assert forced == []


def test_a_hub_checkpoint_that_is_still_to_be_downloaded_is_left_to_the_stage(elsewhere: Settings, forced: list[int]):
    hub = replace(elsewhere.model, path="organisation/not-cached", revision="62bd457")
    main(replace(elsewhere, model=hub))
    assert forced == []


def test_a_manifest_stage_that_fails_ends_the_check_with_its_code(elsewhere: Settings, monkeypatch: pytest.MonkeyPatch):
    (Path(elsewhere.model.path) / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 7, ""))
    with pytest.raises(SystemExit, match="7"):
        main(elsewhere)


def routed(settings: Settings, blocks: int) -> Settings:
    return replace(settings, route=replace(settings.route, blocks=blocks))


@pytest.mark.tried("errors", "refused")
def test_a_router_that_reads_more_blocks_than_the_model_has_is_refused_first(elsewhere: Settings):
    main(routed(elsewhere, 2))
    with pytest.raises(UserError, match=r"`route\.blocks` must not exceed.* Found: 3 of 2"):
        main(routed(elsewhere, 3))


@pytest.mark.tried("errors", "refused")
def test_too_few_replicates_for_any_claim_are_refused_first(settings: Settings):
    with pytest.raises(UserError, match=r"`report\.bootstrap` must allow a p-value below"):
        main(replace(settings, report=replace(settings.report, confidence=0.999, bootstrap=100)))


@pytest.mark.tried("errors", "refused")
def test_contexts_that_the_model_cannot_hold_are_refused_first_where_decoding_is_timed(
    elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
):
    main(elsewhere)
    timed = SimpleNamespace(reason=None)
    monkeypatch.setattr("stages.latency_inputs.what_is_timed", lambda _settings: timed)
    with pytest.raises(UserError, match=r"must fit the model's 128 tokens.* Found: 1024 \+ 34.*`latency\.contexts`"):
        main(elsewhere)
