"""`make check-model`: every byte is read, whatever is remembered."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from commands.check_model import main
from pipeline.config.params import Settings, load
from stages import manifest
from stages.inputs.checkpoint import checksums
from wina_amp.errors import UserError
from wina_amp.models.source import checkpoint_files

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings for a copy of the tiny model, with its manifest."""
    monkeypatch.chdir(tmp_path)
    committed = load(ROOT / "params.yaml")
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    settings = replace(committed, model=replace(committed.model, path=str(folder)))
    manifest.main(settings)
    return settings


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_flipped_bit_under_an_unchanged_size_and_date_is_named(settings: Settings, name: str):
    main(settings)
    file = Path(settings.model.path, name)
    times, content = (file.stat().st_atime_ns, file.stat().st_mtime_ns), file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, ns=times)
    with pytest.raises(UserError, match=rf"Found: another content of {name}\. .*restore the files"):
        main(settings)


def test_it_takes_nobodys_word_for_a_hash(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    main(settings)
    for file in checkpoint_files(Path(settings.model.path)).values():
        checksums()(file)
    monkeypatch.setattr("wina_amp.models.checksums._load", lambda _memory: pytest.fail("asked what is remembered"))
    main(settings)


@pytest.mark.tried("checkpoint", "refused")
def test_a_checkpoint_that_could_not_be_loaded_stops_the_first_stage(settings: Settings):
    Path(settings.model.path, "adapter_config.json").write_text("{}")
    for command in (main, manifest.main):
        with pytest.raises(UserError, match="an adapter"):
            command(settings)
