"""`pipeline.tasks.embedded.drawn`: the same documents from disk, drawn once, and only within DVC."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.tasks.embedded import drawn as module
from pipeline.tasks.embedded.dataset import dataset
from pipeline.tasks.embedded.drawn import FOLDER, drawn

ASKED = {"computation": "sorting", "levels": [2, 3], "seed": 5, "train": 7, "test": 9}


def _kept(root: Path) -> list[Path]:
    return sorted((root / ".scratch" / FOLDER).glob("*.json"))


def test_documents_from_disk_are_those_that_were_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    fresh = dataset(**ASKED)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    first, second = dataset(**ASKED), dataset(**ASKED)
    assert not _kept(tmp_path)  # a split is drawn when it is asked for
    for number, split in enumerate(("train", "test"), 1):
        assert first[split] and len(_kept(tmp_path)) == number
        assert fresh[split].to_list() == first[split].to_list() == second[split].to_list()
        assert fresh[split].features == second[split].features


def test_they_are_drawn_once_for_what_was_asked_and_again_for_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    calls = []

    def draw():
        calls.append(1)
        return [{"number": len(calls)}]

    assert [drawn(draw, seed=1), drawn(draw, seed=1), drawn(draw, seed=2)] == [[{"number": n}] for n in (1, 1, 2)]
    changed = tmp_path / "package"
    shutil.copytree(Path(module.__file__).parent, changed)
    (changed / "documents.py").write_text("# other code")
    monkeypatch.setattr(module, "__file__", str(changed / "drawn.py"))
    assert drawn(draw, seed=1) == [{"number": 3}]


def test_outside_dvc_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert drawn(lambda: [{"a": 1}], seed=1) == drawn(lambda: [{"a": 1}], seed=1)
    assert not list(tmp_path.iterdir())
