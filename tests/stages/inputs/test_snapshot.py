"""`stages.inputs.snapshot`: digests are those of the start, and a change is noticed at little cost."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dvc.repo import Repo

from stages.inputs import snapshot
from stages.inputs.snapshot import ABSENT, ROOT, Snapshot

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of DVC's own code


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(snapshot, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline" / "capture").mkdir(parents=True)
    (tmp_path / "pipeline" / "capture" / "capture.py").write_text("x = 1\n")
    (tmp_path / "data.txt").write_text("data")
    return tmp_path


def test_code_keeps_the_digest_of_the_start_and_data_that_of_the_first_reading(repository: Path):
    taken = Snapshot()
    code, data = repository / "pipeline" / "capture" / "capture.py", repository / "data.txt"
    before = Snapshot().digest("pipeline/capture")
    code.write_text("x = 2\n")
    assert taken.digest("pipeline/capture") == before != Snapshot().digest("pipeline/capture")
    assert taken.digest("pipeline/capture/capture.py") != Snapshot().digest("pipeline/capture/capture.py")
    first = taken.digest("data.txt")
    data.write_text("other")
    assert taken.digest("data.txt") == first != Snapshot().digest("data.txt")


def test_a_package_has_one_digest_whether_taken_alone_or_as_part_of_a_larger_one(repository: Path):
    alone = snapshot._digest(snapshot._files(repository / "pipeline" / "capture"))
    assert Snapshot().digest("pipeline/capture") == alone != ABSENT
    assert Snapshot().digest("pipeline/routing") == Snapshot().digest("nothing") == ABSENT


def test_a_worker_process_compares_with_the_start_of_the_stage(repository: Path):
    taken = Snapshot()
    taken.digest("pipeline/capture")
    (repository / "pipeline" / "capture" / "more.py").write_text("")
    assert pickle.loads(pickle.dumps(taken)).changed("pipeline/capture")
    assert Snapshot().digest("pipeline/capture") != taken.digest("pipeline/capture")


def test_what_was_written_to_has_changed_even_if_it_is_what_it_was(repository: Path):
    taken = Snapshot()
    for path in ("pipeline/capture", "data.txt"):
        taken.digest(path)
        assert not taken.changed(path)
    for path in (repository / "data.txt", repository / "pipeline" / "capture" / "capture.py"):
        os.utime(path, (1, 1))
    assert taken.changed("pipeline/capture") and taken.changed("data.txt")


NO_CONTENT = [
    ".table.parquet.4711.tmp", ".DS_Store", ".gitignore", "module.pyc", "__pycache__/module.cpython-311.pyc",
    "__pycache__/notes.txt", ".ipynb_checkpoints/table.parquet", "below/.ipynb_checkpoints/more/table.parquet",
]  # fmt: skip
CONTENT = [".hidden", ".tmp", "table.tmp", "below/table.parquet", ".hidden folder/table.parquet", "ä ö/\U0001f600.csv"]


@pytest.mark.tried("changed-inputs", "right")
@pytest.mark.parametrize("name", [*NO_CONTENT, *CONTENT])
def test_content_is_what_dvc_takes_for_it(repository: Path, name: str):
    """A folder has DVC's digest, whatever lies in it."""
    folder = repository / "data"
    (folder / name).parent.mkdir(parents=True)
    (folder / "table.parquet").write_text("1")
    shutil.copy(ROOT / ".dvcignore", repository)
    with Repo.init(str(repository), no_scm=True, force=True) as repo:
        taken = Snapshot()
        before = taken.digest("data")
        (folder / name).write_text("2")
        assert taken.changed("data") == (name in CONTENT)
        assert (Snapshot().digest("data") != before) == (name in CONTENT)
        (out,) = repo.add(str(folder))[0].outs
        assert Snapshot().digest("data") == out.hash_info.value


def test_the_digests_of_all_code_take_well_under_a_third_of_a_second():
    began = time.process_time()
    Snapshot()
    assert time.process_time() - began < 0.2


def test_nothing_but_the_standard_library_is_imported_before_the_digests_are_taken():
    code = "import sys; before = set(sys.modules); import stages.inputs.snapshot; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {"stages", "stages.inputs", "stages.inputs.snapshot"}
    assert {name.partition(".")[0] for name in set(done.stdout.split()) - ours} <= sys.stdlib_module_names
