"""`pipeline.estimate.pending`: what is changed and everything behind it, as DVC then really runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.lock import LockError
from dvc.repo import Repo

from pipeline.estimate.pending import pending
from wina_amp.errors import UserError

# A library of DVC's warns of its own future; warnings are errors here.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")

PIPELINE = """
stages:
  one: {cmd: cp source one, deps: [source], outs: [one]}
  two: {cmd: cp one two, deps: [one], outs: [two]}
  behind: {cmd: cp two behind, deps: [two], outs: [behind]}
  three: {cmd: cp other three, deps: [other], outs: [three]}
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DVC repository of four stages that are up to date."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "dvc.yaml").write_text(PIPELINE)
    for name in ("source", "other"):
        (folder / name).write_text(name)
    _dvc(folder, "init", "--no-scm", "--quiet")
    _dvc(folder, "repro")
    return folder


def _dvc(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=True).stdout


def test_the_estimated_stages_are_those_that_dvc_then_runs(repository: Path):
    assert pending(repository) == ([], 4)
    (repository / "source").write_text("another")
    expected, _ = pending(repository)
    ran = re.findall(r"Running stage '([^']+)'", _dvc(repository, "repro"))
    assert expected == ran == ["one", "two", "behind"]
    assert pending(repository) == ([], 4)


def test_a_stage_that_will_be_forced_takes_its_dependents_along(repository: Path):
    assert pending(repository, also=["one"]) == (["one", "two", "behind"], 4)


def test_a_repository_that_dvc_is_at_work_in_is_refused(repository: Path, monkeypatch: pytest.MonkeyPatch):
    def busy(_repo: Repo) -> None:
        raise LockError("'data/one' is busy, it is being blocked by:\n  (PID 1): dvc repro")

    monkeypatch.setattr(Repo, "status", busy)
    with pytest.raises(
        UserError, match=r"must not be at work.*blocked by: \(PID 1\): dvc repro.*wait until it is done"
    ):
        pending(repository)
