"""A stage's time counts as long as dvc.lock has what it wrote, and never for results that came from elsewhere."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.inputs import durations
from stages.inputs.durations import note

OUTS = {"data/a.parquet": "a" * 32, "data/b": "b" * 32 + ".dir"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose dvc.lock has the outs."""
    monkeypatch.chdir(tmp_path)
    lock(OUTS)
    return tmp_path


def lock(outs: dict[str, str]) -> None:
    entries = "".join(f"    - path: {path}\n      hash: md5\n      md5: {digest}\n" for path, digest in outs.items())
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  all:\n    cmd: x\n    outs:\n{entries}")


def total() -> tuple[float, bool] | None:
    found = durations.durations(OUTS.keys())
    return found and (found.seconds, found.is_all)


def test_the_times_of_all_stages_are_added_up():
    note("a", {"data/a.parquet": "a" * 32}, 1.25)
    assert total() == (1.2, False)
    note("b@x", {"data/b": OUTS["data/b"]}, 60)
    assert total() == (61.2, True)
    note("b@x", {"data/b": OUTS["data/b"]}, 30)
    assert total() == (31.2, True)


@pytest.mark.tried("errors", "right")
def test_a_stage_whose_results_have_come_from_elsewhere_since_has_no_time():
    for path, digest in OUTS.items():
        note(Path(path).stem, {path: digest}, 10)
    lock({**OUTS, "data/b": "c" * 32 + ".dir"})
    assert total() == (10, False)
    Path("dvc.lock").unlink()
    assert total() is None


def test_a_stage_that_the_settings_no_longer_have_does_not_count():
    note("a", {"data/a.parquet": "a" * 32}, 10)
    lock({**OUTS, "data/removed": "d" * 32})
    note("removed", {"data/removed": "d" * 32}, 1000)
    assert total() == (10, False)


def test_the_machine_is_that_of_the_stage_that_took_longest(monkeypatch: pytest.MonkeyPatch):
    for (path, digest), seconds in zip(OUTS.items(), (50, 3), strict=True):
        monkeypatch.setattr(durations, "machine", lambda seconds=seconds: f"machine {seconds}")
        note(Path(path).stem, {path: digest}, seconds)
    found = durations.durations(OUTS.keys())
    assert found is not None and found.machine == "machine 50"


def test_a_gpu_is_named_where_the_process_uses_one_and_the_processor_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(durations, "CPU_FACTS", Path("cpuinfo"))
    Path("cpuinfo").write_text("processor : 0\nmodel name\t: Fast 9000\n")
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert durations.machine().startswith("Fast 9000, ") and durations.machine().endswith(" cores")
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=lambda: "Big GPU")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert durations.machine() == "Big GPU"


def test_notes_are_kept_in_the_main_repository_wherever_dvc_runs_the_stage(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DVC_ROOT", str(here))
    monkeypatch.chdir(tmp_path_factory.mktemp("experiment"))
    note("a", {"data/a.parquet": "a" * 32}, 1)
    assert json.loads((here / ".scratch" / "durations" / "a.json").read_text())["seconds"] == 1
