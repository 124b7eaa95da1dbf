"""`wina-amp doctor`: what is here and what is not, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from typer.testing import CliRunner

from wina_amp.cli import doctor
from wina_amp.cli.app import app
from wina_amp.decode import backends
from wina_amp.names import BACKENDS


def _facts() -> dict[str, dict[str, object]]:
    return json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)


def test_versions_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    versions = _facts()["versions"]
    assert versions["torch"] == torch.__version__ and versions["no-such-package"] is None


def test_every_backend_says_where_it_runs_or_what_it_needs(monkeypatch: pytest.MonkeyPatch):
    real = backends.find_spec
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "triton" else real(name))
    rows = [row for row in _facts()["backends"] if row["device"] == "cpu"]
    assert {row["backend"] for row in rows} == set(BACKENDS)
    needs = {(row["backend"], row["dtype"]): row["needs"] for row in rows}
    assert all(needs[name, dtype] is None for name in ("reference", "numba") for dtype in ("float32", "bfloat16"))
    assert "pip install wina-amp[gpu]" in needs["triton", "float32"]


@pytest.mark.parametrize("token", [None, "hf_secret"])
def test_a_token_is_said_to_be_there_and_never_shown(token: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "get_token", lambda: token)
    assert _facts()["hub"]["token"] is (token is not None)
    for options in ([], ["--json"]):
        assert "hf_secret" not in CliRunner().invoke(app, ["doctor", *options]).output


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    for name, is_writable in (("new/hub", True), ("file/hub", False)):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / name))
        assert _facts()["hub"]["cache is writable"] is is_writable


def test_tables_show_the_same():
    said = CliRunner().invoke(app, ["doctor"]).stdout
    assert all(
        text in said for text in ("Versions", "Devices", "Backends of sparse decoding", "Hub", torch.__version__)
    )
