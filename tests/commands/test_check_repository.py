"""`make repro` and `make compare` say what is missing, where DVC would stop with an error of its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from commands.check_repository import WRITTEN, check_repository
from wina_amp.errors import UserError


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of Git without anybody's name."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in WRITTEN:
        (tmp_path / name).mkdir(exist_ok=True)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def test_a_repository_without_a_name_can_be_run_but_makes_no_experiments(repository: Path):
    check_repository(repository)
    with pytest.raises(UserError, match=r"no user\.name and no user\.email"):
        check_repository(repository, has_experiments=True)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("missing", ["user.name", "user.email"])
def test_what_git_does_not_know_of_you_is_asked_for(repository: Path, missing: str):
    for name in {"user.name", "user.email"} - {missing}:
        subprocess.run(["git", "config", name, "x"], cwd=repository, check=True)
    with pytest.raises(UserError, match=f"DVC commits every experiment.* Found: no {missing}.*git config {missing}"):
        check_repository(repository, has_experiments=True)
    subprocess.run(["git", "config", missing, "x"], cwd=repository, check=True)
    check_repository(repository, has_experiments=True)


@pytest.mark.tried("errors", "right")
@pytest.mark.parametrize("place", ["a folder of a repository", "a worktree", "a submodule"])
def test_any_place_in_a_repository_is_taken(repository: Path, place: str):
    author = ("-c", "user.name=x", "-c", "user.email=x", "-c", "protocol.file.allow=always")
    subprocess.run(["git", *author, "commit", "-q", "--allow-empty", "-m", "x"], cwd=repository, check=True)
    folder = repository / "place"
    if place == "a worktree":
        subprocess.run(["git", "worktree", "add", "-q", str(folder)], cwd=repository, check=True)
    elif place == "a submodule":
        subprocess.run(["git", *author, "submodule", "--quiet", "add", "./", "place"], cwd=repository, check=True)
    folder.mkdir(exist_ok=True)
    check_repository(folder)


@pytest.mark.tried("errors", "refused")
def test_a_folder_without_git_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be a Git repository.* no `\.git`.*clone the repository"):
        check_repository(tmp_path)


@pytest.mark.tried("errors", "refused")
def test_a_machine_without_git_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="DVC needs git"):
        check_repository(repository)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("folder", WRITTEN)
def test_a_folder_that_cannot_be_written_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch, folder: str):
    read_only, access = repository / folder, os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != read_only and access(path, mode))
    with pytest.raises(UserError, match=r"must be writable.*correct its owner") as caught:
        check_repository(repository)
    assert caught.value.where == str(read_only)
