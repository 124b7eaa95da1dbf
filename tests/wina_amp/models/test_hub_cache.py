"""A checkpoint in the hub's cache layout under HF_HOME, as a user has it: read, listed, and cut off at any point."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMIT = "62bd457b6fe961a42a631306577e622c83876cb6"
REPOSITORY = "organisation/tiny-llama"
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
    """HF_HOME with one repository; as the hub has it, the blob of the weights is named by its SHA-256."""
    repository = tmp_path / "hub" / "models--organisation--tiny-llama"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(tiny_llama.iterdir())):
        name = hashlib.sha256(file.read_bytes()).hexdigest() if file.suffix == ".safetensors" else f"{number:040d}"
        shutil.copy(file, repository / "blobs" / name)
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / name)
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


def test_a_repository_that_is_not_there_says_where_was_looked(home: Path):
    said = str(_run(home, path="organisation/other"))
    assert f"nothing under {home}/hub" in said and "HF_HUB_OFFLINE=0" in said
