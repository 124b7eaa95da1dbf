"""Settings for tests: the committed ones, and those of the preset `full`, which has every kind of stage and method."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from commands import preset_files
from pipeline.config.params import Settings, load

ROOT = Path(__file__).resolve().parents[1]
PARAMS = ROOT / "params.yaml"


@cache
def full_text() -> str:
    """params.yaml with the preset `full` in it."""
    return preset_files.apply(preset_files.load("full", folder=ROOT / "presets"), PARAMS.read_text())[0]


@cache
def full() -> Settings:
    """The settings of the preset `full`."""
    with TemporaryDirectory() as folder:
        file = Path(folder, PARAMS.name)
        file.write_text(full_text())
        return load(file)
