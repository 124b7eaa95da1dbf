"""`wina_amp.models.source`: folders, the hub's cache layout, and what a user gets wrong with either."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from tests.wina_amp.models.folders import COMMIT, REPOSITORY, hub_snapshot
from wina_amp.errors import UserError
from wina_amp.models import source
from wina_amp.models.context import load_context
from wina_amp.models.load import load
from wina_amp.models.source import cached_folder, checkpoint_files, config_folder, model_folder


@pytest.fixture
def hub_cache(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`HF_HOME/hub` with one repository."""
    hub_snapshot(tiny_llama, tmp_path / "hub")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_a_cached_hub_checkpoint_is_loaded_from_its_snapshot(hub_cache: Path, revision: str):
    folder = model_folder(REPOSITORY, revision)
    assert folder == hub_cache / "models--organisation--tiny-llama" / "snapshots" / COMMIT
    loaded = load(REPOSITORY, revision=revision, dtype="float32", device="cpu")
    assert loaded.family.model_type == "llama"
    assert load_context(REPOSITORY, revision=revision) == 128


def test_a_checkpoint_that_is_not_cached_is_refused_offline_with_the_place_that_was_searched(hub_cache: Path):
    with pytest.raises(UserError, match=r"nothing under .*hub.*organisation/other at main.*HF_HUB_OFFLINE=0"):
        model_folder("organisation/other", "main")
    with pytest.raises(UserError, match=r"organisation/tiny-llama at 0000000.*HF_HOME"):
        model_folder(REPOSITORY, "0" * 40)


def test_a_config_alone_is_enough_to_plan_with_and_is_no_checkpoint(hub_cache: Path):
    for file in model_folder(REPOSITORY, COMMIT).iterdir():
        if file.name != "config.json":
            file.unlink()
    assert (config_folder(REPOSITORY, COMMIT) / "config.json").is_file()
    (config_folder(REPOSITORY, COMMIT) / "config.json").unlink()
    with pytest.raises(UserError, match=r"must have a config\.json.*correct `model\.path`"):
        config_folder(REPOSITORY, COMMIT)


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        pytest.param("model.gguf", r"a file\..*that the GGUF file was made from", id="a GGUF file"),
        pytest.param("a/model.safetensors", r"a file\..*set `model\.path` to its folder", id="a weight file"),
        pytest.param("nowhere", r"'nowhere', which is neither", id="a folder that is not there"),
        pytest.param("organisation/other", r"is no folder, and no revision.*model\.revision", id="a hub id alone"),
        pytest.param("https://huggingface.co/organisation/other", r"an address.*write the hub id", id="an address"),
        pytest.param("empty", r"hold a checkpoint's files.*`model\.path`", id="an empty folder"),
    ],
)
def test_a_path_that_is_no_checkpoint_is_refused_with_advice_for_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, pattern: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("model.gguf", "a/model.safetensors"):
        (tmp_path / name).write_text("weights")
    with pytest.raises(UserError, match=pattern):
        checkpoint_files(model_folder(path, None))


@pytest.mark.parametrize("path", ["nowhere", "./a/b", "organisation/other"])
def test_what_is_not_on_this_machine_is_no_folder_and_nobody_is_asked(hub_cache: Path, path: str):
    assert cached_folder(path, COMMIT) is None
    assert cached_folder(REPOSITORY, COMMIT) == model_folder(REPOSITORY, COMMIT)


@pytest.mark.parametrize(("remote_code", "expected"), [(False, False), (True, True)])
def test_python_files_belong_to_a_checkpoint_only_with_remote_code(tmp_path: Path, remote_code: bool, expected: bool):
    for name in ("config.json", "odd.py", "README.md", "consolidated.safetensors", "pytorch_model.bin"):
        (tmp_path / name).write_text("")
    names = set(checkpoint_files(tmp_path, remote_code=remote_code))
    assert names == {"config.json", *(["odd.py"] if expected else [])}


def _response(status: int) -> Any:
    """As much of a response as the hub's errors look at, with either HTTP library that huggingface_hub has used."""
    return SimpleNamespace(status_code=status, headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "pattern"),
    [
        (GatedRepoError("gated", response=_response(403)), r"open to you.*gated.*accept its terms.*HF_TOKEN"),
        (RepositoryNotFoundError("none", response=_response(404)), r"must exist.*private.*correct `model\.path`"),
        (RevisionNotFoundError("none", response=_response(404)), r"must be a revision.*commit"),
        (OSError(errno.ENOSPC, "No space left on device"), r"No space left.*free space under.*finished files are kept"),
        (ConnectionError("reset by peer"), r"reset by peer.*run again"),
    ],
    ids=["gated", "no repository", "no revision", "disk full", "cut off"],
)
def test_what_the_hub_refuses_becomes_a_sentence(error: Exception, pattern: str, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_arguments: object, **_options: object) -> str:
        raise error

    monkeypatch.setattr(source, "snapshot_download", refuse)
    with pytest.raises(UserError, match=pattern):
        model_folder(REPOSITORY, COMMIT)
