"""`benchmarks.parity_model`: without the recordings it says what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import parity_model


def test_missing_recordings_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(parity_model, "PARITY", tmp_path / "parity")
    with pytest.raises(SystemExit, match=r"recordings of the released code must be at .*parity"):
        parity_model.load_parity_model()
