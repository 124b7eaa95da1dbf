"""`stages.inputs.checkpoint`: whoever reads a checkpoint reads the listed one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stages.inputs import paths
from stages.inputs.checkpoint import checked_folder, checksums
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.source import checkpoint_files


@pytest.fixture
def folder(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny model, with both lists of its files."""
    monkeypatch.chdir(tmp_path)
    copied = shutil.copytree(tiny_llama, tmp_path / "model")
    described = manifest.describe(checkpoint_files(copied, remote_code=False), checksums())
    manifest.write(described, paths.MANIFEST)
    manifest.write(described.without_weights(), paths.TOKENIZER)
    return copied


def _folder(folder: Path, listed: str) -> Path:
    return checked_folder(str(folder), None, remote_code=False, listed=listed)


@pytest.mark.tried("changed-inputs", "refused")
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "model.safetensors"])
def test_other_content_of_the_same_size_and_date_is_refused_by_whoever_depends_on_it(folder: Path, name: str):
    """As plain `dvc repro` finds it, and a worker that starts after the others."""
    file = folder / name
    content, times = file.read_bytes(), file.stat()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    for listed in (paths.MANIFEST, paths.TOKENIZER):
        if listed == paths.TOKENIZER and name == "model.safetensors":
            assert _folder(folder, listed) == folder, "texts do not depend on weights"
            continue
        with pytest.raises(UserError, match=rf"one that {listed} describes.*another content of {name}"):
            _folder(folder, listed)
    file.write_bytes(content)
    assert _folder(folder, paths.MANIFEST) == folder


@pytest.mark.tried("changed-inputs", "refused")
def test_a_file_of_the_tokenizer_that_has_come_is_refused(folder: Path):
    (folder / "added_tokens.json").write_text("{}")
    with pytest.raises(UserError, match=r"a new added_tokens\.json"):
        _folder(folder, paths.TOKENIZER)
