"""Stage settings: what it writes never changes, so no other stage runs again because of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stages import settings as stage
from stages.inputs import paths
from tests.settings import full


def test_the_same_is_written_whatever_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    written: set[str] = set()
    for seed in (0, 1):
        stage.main(replace(full(), seed=seed))
        written.add(Path(paths.SETTINGS).read_text())
    assert written == {'{"settings": "sound"}\n'}
