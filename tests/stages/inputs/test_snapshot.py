"""`stages.inputs.snapshot`: digests are those of the start, and a change is noticed at little cost."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.inputs import snapshot
from stages.inputs.snapshot import ABSENT, ROOT, Snapshot


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


def test_code_that_was_written_to_has_changed_and_data_only_if_its_content_has(repository: Path):
    taken = Snapshot()
    for path in ("pipeline/capture", "data.txt"):
        taken.digest(path)
        assert not taken.changed(path)
    for path in (repository / "data.txt", repository / "pipeline" / "capture" / "capture.py"):
        os.utime(path, (1, 1))
    assert taken.changed("pipeline/capture") and not taken.changed("data.txt")


def test_the_digests_of_all_code_take_well_under_a_third_of_a_second():
    began = time.process_time()
    Snapshot()
    assert time.process_time() - began < 0.2


def test_nothing_but_the_standard_library_is_imported_before_the_digests_are_taken():
    code = "import sys; before = set(sys.modules); import stages.inputs.snapshot; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours = {"stages", "stages.inputs", "stages.inputs.snapshot"}
    assert {name.partition(".")[0] for name in set(done.stdout.split()) - ours} <= sys.stdlib_module_names
