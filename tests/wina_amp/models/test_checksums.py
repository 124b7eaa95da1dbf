"""`wina_amp.models.checksums`: a hash is the file's, remembered or not."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from wina_amp.models import checksums
from wina_amp.models.checksums import Checksums

OLD = time.time() - 3600


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files just written count as old ones: the time of a status change cannot be set."""
    monkeypatch.setattr(checksums, "_TICK", -1.0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every file that is really hashed."""
    hashed: list[int] = []
    original = hashlib.file_digest

    def counted(*arguments: object) -> object:
        hashed.append(1)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return hashed


def test_a_file_is_hashed_once_and_remembered_by_another_process(old_files, reads: list[int], tmp_path: Path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    memory = tmp_path / "memory" / "checksums.json"
    expected = hashlib.sha256(b"abc").hexdigest()
    assert Checksums(memory)(file) == Checksums(memory)(file) == expected
    assert len(reads) == 1


def test_a_write_that_restores_size_and_date_is_noticed(old_files, reads: list[int], tmp_path: Path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    os.utime(file, (OLD, OLD))
    checksum = Checksums(tmp_path / "checksums.json")
    checksum(file)
    time.sleep(0.02)
    with file.open("r+b") as opened:
        opened.write(b"abd")
    os.utime(file, (OLD, OLD))
    assert checksum(file) == hashlib.sha256(b"abd").hexdigest()
    assert len(reads) == 2


def test_a_file_written_just_now_is_not_remembered(reads: list[int], tmp_path: Path):
    file = tmp_path / "weights"
    file.write_bytes(b"abc")
    checksum = Checksums(tmp_path / "checksums.json")
    checksum(file)
    checksum(file)
    assert len(reads) == 2 and not (tmp_path / "checksums.json").exists()


@pytest.mark.tried("checkpoint", "recomputed")
@pytest.mark.parametrize(
    ("days", "reread"), [pytest.param(6, 0, id="after 6 days"), pytest.param(8, 1, id="after 8 days"),
                         pytest.param(-1, 1, id="after the clock was set back")],
)  # fmt: skip
def test_a_bit_that_flipped_on_the_disk_is_noticed_after_a_week(
    old_files, reads: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int, reread: int
):
    file, memory = tmp_path / "weights", tmp_path / "checksums.json"
    file.write_bytes(b"abc")
    Checksums(memory)(file)
    known = checksums._status(file.resolve())
    monkeypatch.setattr(checksums, "_status", lambda _path: known)
    file.write_bytes(b"abd")  # status as before
    later = time.time() + days * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert Checksums(memory)(file) == hashlib.sha256(b"abd" if reread else b"abc").hexdigest()
    assert checksums.sha256(file) == hashlib.sha256(b"abd").hexdigest()


@pytest.mark.parametrize("text", ["{", "[]", '{"weights": 1}', '{"weights": "abc"}', '{"weights": ["abc", "soon"]}'])
def test_a_damaged_memory_only_costs_time(old_files, tmp_path: Path, text: str):
    memory = tmp_path / "checksums.json"
    memory.write_text(text.replace("weights", str(tmp_path / "weights")))
    (tmp_path / "weights").write_bytes(b"abc")
    assert Checksums(memory)(tmp_path / "weights") == hashlib.sha256(b"abc").hexdigest()
