"""Parts survive the process, are what was written, and are alone in what is published."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.storage.parts import JsonParts, Parts
from wina_amp.errors import UserError


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path / "scratch")


def write(parts: Parts, name: str, text: str = "done") -> None:
    with parts.writing(name) as path:
        path.write_text(text)


def test_a_part_is_there_once_it_is_written_in_another_process_too(parts: Parts):
    assert not parts.has("0")
    write(parts, "0")
    again = pickle.loads(pickle.dumps(parts))
    assert again.has("0") and not again.has("1") and again.path("0").read_text() == "done"


def test_an_interrupted_part_is_not_there(parts: Parts):
    with pytest.raises(KeyboardInterrupt), parts.writing("0") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert not parts.has("0") and not list(parts.folder.iterdir())


def test_an_interrupted_part_leaves_the_earlier_one_of_its_name(parts: Parts):
    write(parts, "0", "first")
    with pytest.raises(KeyboardInterrupt), parts.writing("0") as path:
        path.write_text("half")
        raise KeyboardInterrupt
    assert parts.has("0") and parts.path("0").read_text() == "first"


def test_a_crash_between_a_part_and_its_digest_costs_nothing(parts: Parts, monkeypatch: pytest.MonkeyPatch):
    write(parts, "0", "first")
    with monkeypatch.context() as crash, pytest.raises(KeyboardInterrupt):
        crash.setattr("wina_amp.atomic.os.replace", _interrupted)
        write(parts, "0", "second")
    assert parts.has("0") and parts.path("0").read_text() == "first"
    write(parts, "0", "third")
    assert parts.has("0") and parts.path("0").read_text() == "third"


@pytest.mark.tried("damage", "recomputed")
def test_a_part_is_written_over_a_folder_in_the_place_of_its_digest(parts: Parts):
    (parts.folder / "0.sha256" / "folder").mkdir(parents=True)
    assert not parts.has("0")
    write(parts, "0", "text")
    assert parts.has("0")


def _interrupted(*_paths: Path) -> None:
    raise KeyboardInterrupt


def _becomes_a_folder(part: Path) -> None:
    part.unlink()
    (part / "folder").mkdir(parents=True)


def _becomes_a_broken_link(part: Path) -> None:
    part.unlink()
    part.symlink_to("nowhere")


DAMAGES = [
    pytest.param(lambda part: part.write_bytes(part.read_bytes()[:-1]), id="cut short"),
    pytest.param(lambda part: part.write_bytes(b""), id="empty"),
    pytest.param(lambda part: part.write_bytes(b"\0" * len(part.read_bytes())), id="zeros"),
    pytest.param(lambda part: part.write_bytes(bytes([part.read_bytes()[0] ^ 1]) + part.read_bytes()[1:]), id="a bit"),
    pytest.param(lambda part: part.write_bytes(part.read_bytes() + b"\n"), id="a byte more"),
    pytest.param(lambda part: part.write_bytes(b"\xff\xfe{"), id="other bytes"),
    pytest.param(_becomes_a_folder, id="a folder in its place"),
    pytest.param(_becomes_a_broken_link, id="a broken link in its place"),
    pytest.param(lambda part: part.with_name(f"{part.name}.sha256").unlink(), id="no digest"),
    pytest.param(lambda part: part.with_name(f"{part.name}.sha256").write_text(""), id="an empty digest"),
    pytest.param(lambda part: part.with_name(f"{part.name}.sha256").write_bytes(b"\xff"), id="a damaged digest"),
]


@pytest.mark.tried("damage", "recomputed")
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["json", "npy"])
def test_a_damaged_part_is_made_again_with_a_warning(
    parts: Parts, damage: Callable[[Path], object], kind: str, caplog: pytest.LogCaptureFixture
):
    values = JsonParts(parts, "")
    made = []

    def value() -> object:
        """As stages do: from the parts, made where it is not there."""
        if kind == "json":
            if values.get("0") is None:
                made.append(values.put("0", [0.25, {"a": 1}]))
            return values.get("0")
        if not parts.has("0.npy"):
            with parts.writing("0.npy") as path, path.open("wb") as file:
                made.append(np.save(file, np.arange(3)))
        return np.load(parts.path("0.npy")).tolist()

    first = value()
    with caplog.at_level(logging.WARNING):
        damage(parts.folder / f"0.{kind}")
        assert value() == first and len(made) == 2
    assert f"0.{kind} is damaged and made again" in caplog.text
    assert value() == first and len(made) == 2


@pytest.mark.tried("damage", "refused")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_part_damaged_after_the_stage_has_asked_for_it_is_neither_read_nor_published(
    parts: Parts, damage: Callable[[Path], object], tmp_path: Path
):
    write(parts, "0")
    write(parts, "1")
    assert parts.has("1")
    damage(parts.folder / "1")
    with pytest.raises(UserError, match=r"A finished part must be what was written.*run again"):
        parts.path("1")
    with pytest.raises(UserError, match=r"A finished part must be what was written.*run again"):
        parts.publish(tmp_path / "out", ["0", "1"])
    assert not (tmp_path / "out").exists()
    assert parts.has("0") and not parts.has("1")  # the next run makes it again


@pytest.mark.tried("damage", "right")
@pytest.mark.parametrize(
    "leftover",
    [
        pytest.param(".0.4711.tmp", id="a temporary file of a killed process"),
        pytest.param("2", id="a part of an earlier plan"),
        pytest.param("0~", id="an editor's copy"),
        pytest.param("__pycache__/0.pyc", id="a folder"),
    ],
)
def test_nothing_but_the_named_parts_is_published(parts: Parts, leftover: str, tmp_path: Path):
    out = tmp_path / "data" / "out"
    out.mkdir(parents=True)
    (out / "stale").touch()
    write(parts, "0", "a")
    write(parts, "1", "b")
    (parts.folder / leftover).parent.mkdir(exist_ok=True)
    (parts.folder / leftover).touch()
    parts.publish(out, ["0", "1"])
    assert {path.name: path.read_text() for path in out.iterdir()} == {"0": "a", "1": "b"}
    assert parts.has("0")
    parts.clear()
    assert not parts.has("0")


def test_parts_below_a_folder_are_published_by_themselves(parts: Parts, tmp_path: Path):
    first, second = parts.below("first"), parts.below("second")
    write(first, "0", "a")
    assert first.has("0") and not second.has("0")
    write(second, "0", "b")
    second.publish(tmp_path / "out", ["0"])
    assert [path.read_text() for path in (tmp_path / "out").iterdir()] == ["b"]
    parts.clear()
    assert not first.has("0")


@pytest.mark.tried("damage", "refused")
def test_a_full_disk_keeps_the_finished_parts(parts: Parts):
    write(parts, "0")
    with pytest.raises(UserError, match="finished parts are kept"), parts.writing("1"):
        raise OSError(28, "No space left on device")
    assert parts.has("0") and not parts.has("1")


def test_values_are_kept_by_name_replaced_and_found_by_a_later_run(parts: Parts):
    values, others = JsonParts(parts, "0-"), JsonParts(parts, "1-")
    assert values.get("curve") is None
    values.put("curve", [0.1, 1 / 3])
    values.put("curve", [0.2, 1 / 3])
    assert JsonParts(parts, "0-").get("curve") == [0.2, 1 / 3] and others.get("curve") is None
