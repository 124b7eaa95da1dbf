"""The remedy for damaged files, run as it is written, on repositories of DVC in which they were damaged."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from dvc.repo import Repo

from pipeline.storage.tables import Column, Table
from stages.inputs.recorded import check_inputs
from stages.inputs.snapshot import Snapshot
from wina_amp.errors import UserError
from wina_amp.models import manifest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own code

TABLE = Table("numbers", "Numbers.", ("number",), (Column("number", "int64", "A number."),))
MADE, OUTS = Path("made"), (Path("data/table.parquet"), Path("data/folder/table.parquet"), Path("data/model.json"))
"""What the stages copy, so that making it again is quick; what they make."""

PIPELINE = """stages:
  table:
    cmd: cp made/table.parquet data/table.parquet
    deps: [made]
    outs: [data/table.parquet]
  folder:
    cmd: mkdir -p data/folder && cp made/table.parquet data/folder/table.parquet
    deps: [made]
    outs: [data/folder]
  model:
    cmd: cp made/model.json data/model.json
    deps: [made]
    outs: [data/model.json: {persist: true}]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose pipeline has run, with links into the cache as here."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        TABLE.write(pa.table({"number": range(100)}), MADE / "table.parquet")
        manifest.write(manifest.Manifest(None, None, {"config.json": manifest.File(2, "0" * 64)}), MADE / "model.json")
        Path("dvc.yaml").write_text(PIPELINE)
        Path("data").mkdir()
        with Repo.init(str(folder), no_scm=True) as repo, repo.config.edit() as config:
            config["cache"]["type"] = ["reflink", "hardlink", "copy"]
        _repro()
    return folder


@pytest.fixture(autouse=True)
def repository(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    subprocess.run(["cp", "-a", str(finished), str(tmp_path / "copy")], check=True)  # keeps hard links
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def _repro() -> None:
    with Repo() as repo:
        repo.reproduce()


def _objects(out: Path) -> list[Path]:
    """The copies of this content in DVC's cache."""
    return [path for path in Path(".dvc/cache/files").rglob("*") if path.is_file() and _same(path, out)]


def _same(path: Path, other: Path) -> bool:
    return path.read_bytes() == other.read_bytes()


def _cut(path: Path) -> None:
    """Cut a file short where it lies, with all links to it, as a full disk or a broken sector does."""
    with path.open("r+b") as file:
        file.truncate(40)


def _the_cached_copy_and_the_file(out: Path) -> None:
    for cached in _objects(out):
        _cut(cached)
    if out.stat().st_size > 40:
        _cut(out)


def _the_cached_copy_and_then_checked_out(out: Path) -> None:
    _the_cached_copy_and_the_file(out)
    out.unlink()
    with Repo() as repo:
        repo.checkout(force=True)


def _the_cached_copy_and_run_again(out: Path) -> None:
    _the_cached_copy_and_the_file(out)
    _repro()


def _the_file_alone(out: Path) -> None:
    content = out.read_bytes()
    out.unlink()
    out.write_bytes(content[:40])


def _a_bit_of_both(out: Path) -> None:
    """As a disk does: without any time changing."""
    for path in (*_objects(out), out):
        content, times = path.read_bytes(), path.stat()
        if content == (MADE / out.name).read_bytes():
            with path.open("r+b") as file:
                file.seek(10)
                file.write(bytes([content[10] ^ 0x80]))
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _to_nothing(out: Path) -> None:
    for cached in (*_objects(out), out):
        with cached.open("r+b") as file:
            file.truncate(0)


@pytest.mark.tried("damage", "refused")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(_the_cached_copy_and_the_file, id="a cached copy that the file links to, cut short"),
        pytest.param(_the_cached_copy_and_then_checked_out, id="a cached copy cut short, then `dvc checkout`"),
        pytest.param(_the_cached_copy_and_run_again, id="a cached copy cut short, then `dvc repro`"),
        pytest.param(_the_file_alone, id="a file cut short, its cached copy whole"),
        pytest.param(_a_bit_of_both, id="a bit of a file and its cached copy"),
        pytest.param(_to_nothing, id="an empty file and cached copy"),
    ],
)
def test_a_damaged_file_is_refused_with_a_remedy_that_works(damage: Callable[[Path], object]):
    for out in OUTS:
        damage(out)
    assert not _same(OUTS[0], MADE / OUTS[0].name)
    for out in OUTS:
        if not _same(out, MADE / out.name):  # a remedy mends them all
            with pytest.raises(UserError, match="chmod") as refused:
                _read(out)
            _follow(refused.value.remedy, out)
    for out in OUTS:
        assert _same(out, MADE / out.name)
        _read(out)
    shutil.rmtree("data")
    Path("data").mkdir()
    _repro()
    assert all(_same(out, MADE / out.name) for out in OUTS), "the cache is whole, too"


def _first_byte(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes([content[0] ^ 1]))


@pytest.mark.tried("damage", "refused")
@pytest.mark.parametrize(
    ("dep", "damaged", "named"),
    [
        pytest.param("data/table.parquet", "data/table.parquet", "data/table.parquet", id="a file"),
        pytest.param("data/folder", "data/folder/table.parquet", "data/folder", id="a file of a folder"),
        pytest.param("data", "data/model.json", "data/model.json", id="a file of a folder of outs"),
    ],
)
def test_an_input_with_a_flipped_bit_is_refused_whatever_its_format(dep: str, damaged: str, named: str):
    check_inputs([dep, "made", "data/missing.json"], Snapshot())
    whole = Path(damaged).read_bytes()
    for path in (*_objects(Path(damaged)), Path(damaged)):
        if path.read_bytes() == whole:  # not a link that is damaged already
            _first_byte(path)
    with pytest.raises(UserError, match=rf"what the stage that made it wrote.*Where: {named}\.") as refused:
        check_inputs([dep], Snapshot())
    _follow(refused.value.remedy, Path(named))
    check_inputs([dep], Snapshot())


def test_inputs_are_compared_without_dvc_lock_with_nothing():
    Path("dvc.lock").unlink()
    _first_byte(Path("data/table.parquet"))
    check_inputs(["data/table.parquet"], Snapshot())


def test_an_entry_that_a_removed_stage_has_left_refuses_nothing():
    text = Path("dvc.lock").read_text()
    old = text.replace("table:", "old:").replace(_md5(Path("data/table.parquet")), "0" * 32)
    Path("dvc.lock").write_text(text + old.partition("stages:\n")[2])
    check_inputs(["data/table.parquet"], Snapshot())


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def _read(out: Path) -> Any:
    return manifest.read(out) if out.suffix == ".json" else TABLE.read(out)


def _follow(remedy: str, out: Path) -> None:
    assert remedy.startswith("delete it, ")
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    for command in re.findall("`([^`]+)`", remedy):
        if command == "dvc repro":
            _repro()  # without starting a process
        else:
            subprocess.run(shlex.split(command), check=True)
