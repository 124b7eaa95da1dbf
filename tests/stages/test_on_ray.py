"""Every stage that spreads work, on a Ray cluster: the same bytes as in one process, whoever ends in the middle.

Workers, nodes and the driver are killed by the driver itself, when it is asked to write a part: whoever asks is at work
then, and loses it. Skipped where Ray is not installed; `make ray` installs it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import Settings
from pipeline.executors.pool import EXECUTOR
from pipeline.storage.parts import Parts
from pipeline.storage.scratch import file_digest
from stages import allocate, capture, profile
from stages.inputs import paths
from tests.pipeline.executors.ray_cluster import SIZE, cluster, needs_ray, workers
from tests.stages.test_group_stages import run_all
from tests.stages.test_group_stages import settings as group_settings

__all__ = ["cluster", "group_settings"]

pytestmark = [needs_ray, pytest.mark.timeout(900)]

PROFILE_SETS = ("wina", "greedy", "kl", "clustered", "random", "kl_clustered")


@pytest.fixture(scope="module")
def settings(group_settings: Settings) -> Settings:
    """Those of the group stages, with fewer targets: allocations are searched by one process here, too."""
    return replace(group_settings, evaluate=replace(group_settings.evaluate, targets=(0.5, 0.65)))


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Any:
    """Several parts of few samples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture, "BATCHES_PER_PART", 1)
        patch.delenv("DVC_ROOT", raising=False)
        patch.delenv("DVC_STAGE", raising=False)
        yield


@pytest.fixture(scope="module")
def local(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process."""
    return _run(settings, tmp_path_factory.mktemp("local"))


def _run(settings: Settings, folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_all(settings, PROFILE_SETS)
    return folder


def test_all_tables_are_the_same_bytes_on_a_cluster(
    settings: Settings, local: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(EXECUTOR, "ray")
    _run(settings, tmp_path)
    assert _digests(tmp_path) == _digests(local)
    assert len(_digests(local)) > 50


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.glob("data/**/*") if path.is_file()}


STAGES: dict[str, tuple[Callable[[Settings], None], tuple[str, ...]]] = {
    "capture": (capture.main, (paths.HISTOGRAMS, paths.SIGNATURES)),
    "greedy": (lambda settings: allocate.main(settings, "random"), (paths.allocations("random"),)),
    "kl": (lambda settings: allocate.main(settings, "kl"), (paths.allocations("kl"), paths.allocation_costs("kl"))),
    "shrunk": (lambda settings: allocate.main(settings, "kl_clustered"), (paths.allocations("kl_clustered"),)),
    "profile": (lambda settings: profile.main(settings, "clustered"), (paths.profiles("clustered"),)),
}


@pytest.fixture
def copy(local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local run's tables, in the current folder, and Ray as executor."""
    import shutil

    shutil.copytree(local / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(EXECUTOR, "ray")
    return tmp_path


def _outs(stage: str) -> list[str]:
    return [file_digest(out) for out in STAGES[stage][1]]


def _at_a_write(number: int, act: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Do something when a part is to be written for the so-manieth time; the names of all that are."""
    written: list[str] = []
    original = Parts.write

    def write(parts: Parts, name: str, content: bytes) -> None:
        written.append(name)
        if len(written) == number:
            act()
        original(parts, name, content)

    monkeypatch.setattr(Parts, "write", write)
    return written


def _kill_workers() -> None:
    at_work = workers()
    assert at_work
    for process in at_work:
        process.kill()


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", STAGES)
def test_workers_killed_in_the_middle_cost_no_byte(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = _outs(stage)
    written = _at_a_write(2, _kill_workers, monkeypatch)
    STAGES[stage][0](settings)
    assert _outs(stage) == expected
    assert len(written) > 2


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", ["capture", "kl"])
def test_a_node_removed_in_the_middle_costs_no_byte(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = _outs(stage)
    node = cluster.add_node(**SIZE)
    _at_a_write(2, lambda: cluster.remove_node(node, allow_graceful=False), monkeypatch)
    STAGES[stage][0](settings)
    assert _outs(stage) == expected


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", STAGES)
def test_a_driver_killed_in_the_middle_goes_on_with_the_finished_parts(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = _outs(stage)
    driver = multiprocessing.get_context("spawn").Process(target=_driver, args=(stage, settings))
    driver.start()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL
    finished = [path for path in Path(".scratch").rglob("*") if path.suffix in (".parquet", ".json")]
    assert finished
    written = _at_a_write(0, lambda: None, monkeypatch)
    STAGES[stage][0](settings)
    assert _outs(stage) == expected
    assert not {path.name for path in finished} & {*written} or stage in ("capture", "kl", "shrunk")


def _driver(stage: str, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(capture, "BATCHES_PER_PART", 1)
        _at_a_write(3, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        STAGES[stage][0](settings)
