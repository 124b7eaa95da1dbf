"""Finished parts survive the process, belong to exactly one fingerprint, and are never written by two processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.scratch import JsonParts, Parts, Scratch, file_digest
from wina_amp.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)


def write(scratch: Parts, name: str, text: str = "done") -> None:
    with scratch.writing(name) as path:
        path.write_text(text)


def test_parts_of_the_same_fingerprint_are_picked_up_and_those_of_another_are_not():
    with Scratch("capture", {"bits": 4}) as scratch:
        write(scratch, "0")
        assert scratch.has("0") and not scratch.has("1")
    with Scratch("capture", {"bits": 4}) as again, Scratch("capture", {"bits": 5}) as other:
        assert again.has("0") and again.path("0").read_text() == "done"
        assert not other.has("0")


def test_an_interrupted_part_is_not_there():
    with Scratch("capture", {}) as scratch:
        with pytest.raises(KeyboardInterrupt), scratch.writing("0") as path:
            path.write_text("half")
            raise KeyboardInterrupt
        assert not scratch.has("0") and not list(scratch.folder.iterdir())


@pytest.mark.tried("damage", "refused")
def test_a_second_writer_is_turned_away_until_the_first_has_finished():
    # A lock belongs to the opened file, so a second opening in this process stands for one in another process.
    with Scratch("capture", {}) as scratch:
        write(scratch, "0")
        with pytest.raises(UserError, match="Only one process may work on a stage at a time"):
            Scratch("capture", {})
        assert scratch.has("0")
    with Scratch("capture", {}) as again:
        assert again.has("0")


def test_the_lock_of_a_killed_process_is_gone(tmp_path: Path):
    code = "import os; from pipeline.storage.scratch import Scratch; s = Scratch('x', {}); os.kill(os.getpid(), 9)"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True)
        assert done.returncode == -9 and done.stderr == b""


def test_publishing_replaces_the_out_and_keeps_the_parts(tmp_path: Path):
    out = tmp_path / "data" / "out"
    out.mkdir(parents=True)
    (out / "stale").touch()
    with Scratch("capture", {}) as scratch:
        write(scratch, "0")
        write(scratch, "1")
        scratch.publish(out)
        assert sorted(path.name for path in out.iterdir()) == ["0", "1"]
        assert scratch.has("0")
        scratch.clear()
        assert not scratch.has("0")


def test_experiments_in_temporary_folders_share_the_parts_of_the_main_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    main = tmp_path / "main"
    for number in range(2):
        folder = tmp_path / f"experiment{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("DVC_ROOT", str(main))
        monkeypatch.setenv("DVC_STAGE", "evaluate@wina")
        with Scratch("evaluate", {}) as scratch:
            assert scratch.folder.parent == main / ".scratch" / "evaluate@wina"
            assert scratch.has("0") == bool(number)
            write(scratch, "0")


def test_parts_below_a_folder_are_published_by_themselves(tmp_path: Path):
    with Scratch("capture", {}) as scratch:
        first, second = scratch.below("first"), scratch.below("second")
        write(first, "0", "a")
        assert first.has("0") and not second.has("0")
        write(second, "0", "b")
        second.publish(tmp_path / "out")
        assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["b"]
        scratch.clear()
        assert not first.has("0")


@pytest.mark.tried("damage", "refused")
def test_a_full_disk_keeps_the_finished_parts():
    with Scratch("capture", {}) as scratch:
        write(scratch, "0")
        with pytest.raises(UserError, match="finished parts are kept"), scratch.writing("1"):
            raise OSError(28, "No space left on device")
        assert scratch.has("0") and not scratch.has("1")


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
    assert file_digest(folder) == third


def test_values_are_kept_by_name_replaced_and_found_by_a_later_run():
    with Scratch("allocate", {}) as scratch:
        parts, others = JsonParts(scratch, "0-"), JsonParts(scratch, "1-")
        assert parts.get("curve") is None
        parts.put("curve", [0.1, 1 / 3])
        parts.put("curve", [0.2, 1 / 3])
        assert parts.get("curve") == [0.2, 1 / 3] and others.get("curve") is None
    with Scratch("allocate", {}) as again:
        assert JsonParts(again, "0-").get("curve") == [0.2, 1 / 3]
