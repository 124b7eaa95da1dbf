"""A checkpoint in the hub's cache layout under HF_HOME, as a user has it: read, listed, and cut off at any point."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wina_amp.models.folders import COMMIT, REPOSITORY, hub_snapshot

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.checksums import sha256
from wina_amp.models.load import load
from wina_amp.models.source import cached_folder, checkpoint_files
try:
    folder = cached_folder(sys.argv[1], sys.argv[2])
    listed = manifest.describe(checkpoint_files(folder), sha256) if folder else None
    loaded = load(sys.argv[1], revision=sys.argv[2], dtype="bfloat16", device="cpu")
    hashes = {name: file.sha256 for name, file in listed.files.items()}
    print(json.dumps([loaded.family.model_type, listed.repository, listed.commit, hashes]))
except UserError as error:
    print(json.dumps(str(error)))
"""


@pytest.fixture
def home(tiny_llama: Path, tmp_path: Path) -> Path:
    """HF_HOME with one repository."""
    hub_snapshot(tiny_llama, tmp_path / "hub")
    return tmp_path


def _run(home: Path, path: str = REPOSITORY, revision: str = COMMIT) -> object:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, path, revision]
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_a_cached_repository_is_loaded_and_listed_with_its_commit(home: Path, tiny_llama: Path, revision: str):
    family, repository, commit, hashes = _run(home, revision=revision)  # type: ignore[misc]
    assert (family, repository, commit) == ("llama", REPOSITORY, COMMIT)
    assert {name: hashlib.sha256((tiny_llama / name).read_bytes()).hexdigest() for name in hashes} == hashes


def test_a_download_that_was_cut_off_names_what_is_missing(home: Path):
    blobs = home / "hub" / "models--organisation--tiny-llama" / "blobs"
    [weights] = (path for path in blobs.iterdir() if len(path.name) == 64)
    weights.rename(weights.with_name(weights.name + ".incomplete"))
    assert "no model.safetensors" in str(_run(home))
    weights.write_bytes(weights.with_name(weights.name + ".incomplete").read_bytes()[:-10])
    assert "must have the SHA-256 that it is named by" in str(_run(home))
