"""`wina_amp.models.manifest`: the same checkpoint gives the same bytes, another one is told apart and said how."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.wina_amp.models.folders import COMMIT, REPOSITORY, hub_snapshot
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.source import checkpoint_files


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(folder: Path) -> manifest.Manifest:
    return manifest.describe(checkpoint_files(folder), sha256)


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def test_every_file_of_the_checkpoint_is_listed_with_its_size_and_hash(folder: Path):
    described = describe(folder)
    assert set(described.files) >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    for name, file in described.files.items():
        assert file.size == (folder / name).stat().st_size and file.sha256 == sha256(folder / name)
    assert described.repository is None and described.commit is None


def test_another_place_another_date_and_other_files_beside_it_give_the_same_bytes(folder: Path, tmp_path: Path):
    manifest.write(describe(folder), tmp_path / "one.json")
    moved = folder.rename(tmp_path / "elsewhere")
    os.utime(moved / "model.safetensors", (0, 0))
    (moved / "README.md").write_text("a card")
    (moved / "consolidated.safetensors").write_text("the weights once more")
    (moved / "original").mkdir()
    manifest.write(describe(moved), tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_written_manifest_is_read_back(folder: Path, tmp_path: Path):
    described = describe(folder)
    manifest.write(described, tmp_path / "model.json")
    assert manifest.read(tmp_path / "model.json") == described


def test_the_digest_depends_on_names_and_contents_alone(folder: Path):
    first = describe(folder)
    (folder / "merges.txt").write_text("a b")
    second = describe(folder)
    (folder / "merges.txt").write_text("a c")
    third = describe(folder)
    assert len({first.digest, second.digest, third.digest}) == 3
    assert manifest.Manifest("organisation/name", COMMIT, first.files).digest == first.digest


def test_without_weights_a_change_of_the_weights_is_not_seen(folder: Path):
    before = describe(folder)
    (folder / "model.safetensors").write_bytes(b"other")
    (folder / "model.safetensors.index.json").write_text("{}")
    after = describe(folder)
    assert before != after and before.without_weights() == after.without_weights()
    assert "tokenizer.json" in after.without_weights().files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "merges.txt").write_text(""), "a new merges.txt"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"ab"), "model.safetensors of 2 bytes instead of"),
    ],
    ids=["missing", "new", "other size"],
)
def test_a_difference_of_names_or_sizes_is_found_without_reading_anything(folder: Path, change, said: str):
    before = describe(folder)
    assert manifest.differences(before, checkpoint_files(folder), sha256) == []
    change(folder)
    [phrase] = manifest.differences(before, checkpoint_files(folder))
    assert phrase.startswith(said)


def test_another_content_of_the_same_size_is_found_by_its_hash_only(folder: Path):
    before = describe(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert manifest.differences(before, checkpoint_files(folder)) == []
    assert manifest.differences(before, checkpoint_files(folder), sha256) == ["another content of model.safetensors"]


def test_a_snapshot_of_the_hubs_cache_is_known_by_repository_and_commit(folder: Path, tmp_path: Path):
    """A large file's blob is named by its SHA-256, which its content must have; small ones go by their Git hash."""
    snapshot = hub_snapshot(folder, tmp_path)
    described = describe(snapshot)
    assert (described.repository, described.commit) == (REPOSITORY, COMMIT)
    assert described.files == describe(folder).files
    weights = (snapshot / "model.safetensors").resolve()
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=r"SHA-256 that it is named by.*for model\.safetensors.*delete that file"):
        describe(snapshot)


@pytest.mark.parametrize("text", [None, "{", "[]", json.dumps({"files": {"a": {}}, "repository": None})])
def test_a_missing_or_damaged_manifest_says_how_it_comes_back(tmp_path: Path, text: str | None):
    if text is not None:
        (tmp_path / "model.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest of the model must be readable.*model\.json.*dvc repro") as refused:
        manifest.read(tmp_path / "model.json")
    assert ("make repro" in refused.value.remedy) == (text is None)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"hold a checkpoint.s files.*none of \*\.json.*correct `model\.path`"):
        checkpoint_files(tmp_path)
