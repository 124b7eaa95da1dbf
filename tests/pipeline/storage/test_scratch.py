"""Finished parts belong to exactly one fingerprint, and neither they nor outs are written by two processes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.storage.parts import Parts
from pipeline.storage.scratch import array_digest, file_digest, hold, scratch
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def write(parts: Parts, name: str, text: str = "done") -> None:
    with parts.writing(name) as path:
        path.write_text(text)


def test_parts_of_the_same_fingerprint_are_picked_up_and_those_of_another_are_not():
    with scratch("capture", {"bits": 4}) as parts:
        write(parts, "0")
        assert parts.has("0") and not parts.has("1")
    with scratch("capture", {"bits": 4}) as again, scratch("capture", {"bits": 5}) as other:
        assert again.has("0") and again.path("0").read_text() == "done"
        assert not other.has("0")


@pytest.mark.tried("damage", "refused")
def test_a_second_writer_is_turned_away_until_the_first_has_finished():
    # A lock belongs to the opened file, so a second opening in this process stands for one in another process.
    with scratch("capture", {}) as parts:
        write(parts, "0")
        with pytest.raises(UserError, match="Only one process may work on a stage at a time"):
            scratch("capture", {}).__enter__()
        assert parts.has("0")
    with scratch("capture", {}) as again:
        assert again.has("0")


@pytest.fixture
def orphan(tmp_path: Path):
    """A process that works on stage `evaluate` with other settings, as one left over from a killed DVC does."""
    code = "from pipeline.storage.scratch import hold; hold('evaluate'); print(flush=True); input()"
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, **pipes) as process:
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.tried("damage", "refused")
def test_an_orphan_with_other_settings_keeps_its_stage_from_starting_until_it_has_ended(
    orphan: subprocess.Popen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(UserError, match=f"process {orphan.pid} holds the lock.*`kill {orphan.pid}`"):
        scratch("evaluate", {"seed": 2}).__enter__()
    hold("allocate")
    (tmp_path / "experiment").mkdir()
    with monkeypatch.context() as elsewhere:  # outs of another folder
        elsewhere.chdir(tmp_path / "experiment")
        hold("evaluate")
    orphan.kill()
    orphan.wait()
    hold("evaluate")


def test_a_process_may_hold_the_outs_of_a_stage_as_often_as_it_likes():
    for seed in (1, 2):
        with scratch("evaluate", {"seed": seed}):
            hold("evaluate")


@pytest.mark.tried("damage", "refused")
def test_a_scratch_folder_that_cannot_be_written_is_refused(tmp_path: Path):
    (tmp_path / ".scratch").touch()
    with pytest.raises(UserError, match="The scratch folder must be writable"):
        scratch("evaluate", {}).__enter__()


@pytest.mark.tried("errors", "refused")
def test_a_disk_without_locks_is_refused(monkeypatch: pytest.MonkeyPatch):
    def lock(_file: object, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", lock)
    with pytest.raises(UserError, match=r"on a disk with locks.*No locks available.*another disk"):
        hold("evaluate")


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path):
    code = "import os; from pipeline.storage.scratch import scratch\nwith scratch('x', {}): os.kill(os.getpid(), 9)"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True)
        assert done.returncode == -9 and done.stderr == b""


def test_experiments_in_temporary_folders_share_the_parts_of_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = tmp_path / "main"
    for number in range(2):
        folder = tmp_path / f"experiment{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DVC_ROOT", str(main))
        monkeypatch.setenv("DVC_STAGE", "../dvc.yaml:evaluate@wina")  # as in a folder below
        with scratch("evaluate@wina", {}) as parts:
            assert parts.folder.parent == main / ".scratch" / "evaluate@wina"
            assert parts.has("0") == bool(number)
            write(parts, "0")


def test_the_digest_of_a_folder_sees_names_and_contents(tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = file_digest(folder)
    assert file_digest(folder) == first
    (folder / "a").write_text("2")
    second = file_digest(folder)
    (folder / "a").rename(folder / "b")
    third = file_digest(folder)
    assert len({first, second, third}) == 3
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "b.pyc").write_text("3")
    (folder / ".b.4711.tmp").write_text("4")
    assert file_digest(folder) == third
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c").write_text("5")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    linked = file_digest(folder)
    (tmp_path / "elsewhere" / "c").write_text("6")
    assert len({third, linked, file_digest(folder)}) == 3
    (folder / "link").unlink()
    assert file_digest(folder) == third


@pytest.mark.tried("keys", "recomputed")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(np.array([[1.0, 2.0, 3.0]]), id="another shape"),
        pytest.param(np.array([1.0, 2.0, 3.0], np.float32), id="another type"),
        pytest.param(np.array([1.0, 2.0, 3.0]).view(np.int64), id="the same bytes as integers"),
        pytest.param(np.array([1.0, 2.0, -3.0]), id="another value"),
    ],
)
def test_the_digest_of_an_array_sees(other: np.ndarray):
    array = np.array([1.0, 2.0, 3.0])
    assert array_digest(array) == array_digest(array.copy()) != array_digest(other)
    assert array_digest(np.arange(6).reshape(2, 3).T) == array_digest(np.arange(6).reshape(2, 3).T.copy())
