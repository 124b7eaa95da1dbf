"""`make push` and `make pull`: what one has run and shared, another has, through a folder and through S3.

The repository is a small one with the Makefile of this one and stages that copy: what is shared, and when a stage runs,
is decided by DVC. The real pipeline's sharing is in test_behaviour.py. S3 is a server on this machine; all is skipped
where that is not installed (`make sharing`).
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.dvc.deps import ROOT

PIPELINE = """stages:
  count:
    cmd: mkdir -p data/parts && cp input data/parts/first && echo $(cat input) ${k} > data/parts/second
    params: [k]
    deps: [input]
    outs: [data/parts]
  measure:
    cmd: "cat data/parts/second | wc -c > /dev/null; echo '{\\"value\\": ${k}}' > data/metrics.json"
    params: [k]
    deps: [data/parts]
    metrics: [data/metrics.json: {cache: true}]
"""
HAS_S3 = all(importlib.util.find_spec(name) for name in ("dvc_s3", "moto", "flask"))

pytestmark = pytest.mark.skipif(not HAS_S3, reason="moto and dvc-s3 are not installed (`make sharing`)")


@dataclass(frozen=True)
class Clone:
    """A repository in which commands are run."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, fails: bool = False) -> str:
        """Output of a command, which must succeed, or must not."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert (done.returncode != 0) == fails, f"{' '.join(command)}:\n{done.stdout}"
        return done.stdout

    def dvc(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def make(self, target: str, fails: bool = False) -> str:
        """`make` with this Python as the environment's."""
        scripts = self.folder / ".venv" / "bin"
        if not scripts.exists():
            scripts.mkdir(parents=True)
            (scripts / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            (scripts / "python").chmod(0o755)
            (self.folder / ".venv" / ".installed").touch()
        return self.run("make", target, fails=fails)

    def stages_run(self) -> set[str]:
        return set(re.findall(r"Running stage '([^']+)'", self.dvc("repro")))

    def clone(self, name: str) -> Clone:
        """Another clone of the Git remote, without a cache."""
        folder = self.folder.with_name(name)
        self.run("git", "clone", "-q", self.run("git", "remote", "get-url", "origin").strip(), str(folder))
        return Clone(folder, self.environment)

    def experiments(self) -> set[str]:
        """The values of k of all experiments."""
        shown = csv.DictReader(io.StringIO(self.dvc("exp", "show", "--csv", "--no-pager", "--all-commits")))
        return {row["k"] for row in shown if row["Experiment"]}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "MAKE", "AWS_"))}
    who = {f"GIT_{role}_{what}": "test@localhost" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    return kept | who | keys | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(home / "site"), "HOME": str(home)}


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a server that answers as S3 does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = ("127.0.0.1", port)
    for _ in range(300):
        with socket.socket() as tried:
            if tried.connect_ex(address) == 0:
                break
        time.sleep(0.1)
    yield f"http://{address[0]}:{port}"
    server.kill()
    server.wait()


@pytest.fixture(params=["folder", "s3"], scope="module")
def first(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]
) -> Clone:
    """A repository that has run with k = 1, and experiments with k = 2, 3, and has pushed all of it."""
    tmp_path = tmp_path_factory.mktemp(str(request.param))
    clone = Clone(tmp_path / "first", environment)
    clone.folder.mkdir()
    clone.run("git", "init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    (clone.folder / "dvc.yaml").write_text(PIPELINE)
    (clone.folder / "params.yaml").write_text("k: 1\n")
    (clone.folder / "input").write_text("some text\n")
    (clone.folder / ".gitignore").write_text(".venv\n")
    for name in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / name, clone.folder)
    clone.dvc("config", "core.autostage", "false")
    if request.param == "folder":
        clone.dvc("remote", "add", "-q", "-d", "shared", str(tmp_path / "remote"))
    else:
        address, bucket = request.getfixturevalue("s3"), f"bucket-{time.time_ns()}"
        _client(address).create_bucket(Bucket=bucket)
        clone.dvc("remote", "add", "-q", "-d", "shared", f"s3://{bucket}/wina-amp")
        clone.dvc("remote", "modify", "shared", "endpointurl", address)
    clone.dvc("repro", "-q")
    clone.run("git", "init", "-q", "--bare", str(tmp_path / "git"))
    clone.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "-q", "-m", "results")
    clone.run("git", "push", "-q", "origin", "main")
    clone.run("git", "--git-dir", str(tmp_path / "git"), "symbolic-ref", "HEAD", "refs/heads/main")
    for k in (2, 3):
        clone.dvc("exp", "run", "-q", "-S", f"k={k}")
    clone.run("git", "checkout", "-q", "--", ".")
    clone.dvc("checkout", "-q")
    clone.make("push")
    return clone


def _client(address: str) -> Any:
    import boto3

    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=address, **keys)


@pytest.mark.tried("sharing", "right")
def test_a_colleague_who_pulls_has_all_results_and_experiments_and_runs_nothing(first: Clone):
    colleague = first.clone("colleague")
    colleague.make("pull")
    assert (colleague.folder / "data" / "parts" / "second").read_text() == "some text 1\n"
    assert colleague.stages_run() == set()
    assert colleague.experiments() == {"2", "3"}
    for k in (2, 3):  # from the run cache
        (colleague.folder / "params.yaml").write_text(f"k: {k}\n")
        assert colleague.stages_run() == set()
        assert (colleague.folder / "data" / "parts" / "second").read_text() == f"some text {k}\n"


@pytest.mark.tried("sharing", "right")
def test_a_transfer_that_was_interrupted_is_completed_by_the_next_one(first: Clone):
    complete = _Remote(first).names()
    # Files of folders go first, then what names them.
    _Remote(first).delete([name for number, name in enumerate(complete) if name.endswith(".dir") or number % 2])
    first.make("push")
    assert _Remote(first).names() == complete
    colleague = first.clone("another")
    colleague.make("pull")
    shutil.rmtree(colleague.folder / "data")
    for stored in sorted((colleague.folder / ".dvc" / "cache").rglob("*.dir")):
        stored.unlink()
    colleague.make("pull")
    assert colleague.stages_run() == set()
    assert (colleague.folder / "data" / "parts" / "second").read_text() == "some text 1\n"


@pytest.mark.tried("sharing", "recomputed")
def test_what_is_missing_in_the_remote_is_named_and_computed_again(first: Clone):
    metrics = json.loads((first.folder / "data" / "metrics.json").read_text())
    digest = hashlib.md5((first.folder / "data" / "parts" / "second").read_bytes(), usedforsecurity=False).hexdigest()
    _Remote(first).delete([name for name in _Remote(first).names() if name.endswith(f"{digest[:2]}/{digest[2:]}")])
    colleague = first.clone("third")
    said = colleague.make("pull")
    assert digest in said and "`make repro` computes it again" in said
    assert colleague.stages_run() == {"count"}
    assert (colleague.folder / "data" / "parts" / "second").read_text() == "some text 1\n"
    assert json.loads((colleague.folder / "data" / "metrics.json").read_text()) == metrics


class _Remote:
    """The objects of a repository's remote."""

    def __init__(self, clone: Clone) -> None:
        self._url = clone.dvc("remote", "list").split()[1]
        address = clone.dvc("config", "remote.shared.endpointurl") if self._url.startswith("s3://") else ""
        self._s3 = _client(address.strip()) if address else None
        self._bucket, _, self._prefix = self._url.removeprefix("s3://").partition("/")

    def names(self) -> list[str]:
        """All of them."""
        if self._s3:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
            return sorted(stored["Key"] for page in pages for stored in page["Contents"])
        return sorted(str(path) for path in Path(self._url).rglob("*") if path.is_file())

    def delete(self, names: list[str]) -> None:
        assert names
        for name in names:
            if self._s3:
                self._s3.delete_object(Bucket=self._bucket, Key=name)
            else:
                Path(name).unlink()
