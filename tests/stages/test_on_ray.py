"""Every stage that spreads work, on a Ray cluster: the same bytes as in one process, whoever ends in the middle.

Workers, nodes and the driver are killed by the driver itself, when it is asked to write a part: whoever asks is at work
then, and loses it. Skipped where Ray is not installed; `make ray` installs it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.params import Settings
from pipeline.executors.pool import EXECUTOR
from pipeline.storage.scratch import file_digest
from stages import evaluate
from stages.inputs import paths
from tests.pipeline.executors.ray_cluster import SIZE, cluster, needs_ray, workers
from tests.stages.spread import STAGES, at_a_write, copy, cut, group_settings, local, outs, run, settings, small_parts
from tests.stages.test_evaluate import make_inputs
from tests.stages.test_evaluate import settings as evaluate_settings

__all__ = ["cluster", "copy", "evaluate_settings", "group_settings", "local", "settings", "small_parts"]

pytestmark = [needs_ray, pytest.mark.timeout(900)]


def test_all_tables_are_the_same_bytes_on_a_cluster(
    settings: Settings, local: Path, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(EXECUTOR, "ray")
    run(settings, tmp_path)
    assert _digests(tmp_path) == _digests(local)
    assert len(_digests(local)) > 50


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): file_digest(path) for path in folder.glob("data/**/*") if path.is_file()}


def _kill_workers() -> None:
    at_work = workers()
    assert at_work
    for process in at_work:
        process.kill()


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", ["capture", "greedy", "kl"])
def test_workers_killed_in_the_middle_cost_no_byte(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = outs(stage)
    monkeypatch.setenv(EXECUTOR, "ray")
    asked = at_a_write(2, _kill_workers, monkeypatch)
    STAGES[stage][0](settings)
    assert outs(stage) == expected
    assert len(asked) > 2


@pytest.mark.tried("cluster", "recomputed")
def test_workers_killed_during_an_evaluation_cost_no_byte(
    evaluate_settings: Settings, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(evaluate_settings)
    written: list[str] = []
    for executor in ("local", "ray"):
        monkeypatch.setenv(EXECUTOR, executor)
        with monkeypatch.context() as patch:
            asked = at_a_write(2, _kill_workers if executor == "ray" else lambda: None, patch)
            evaluate.main(evaluate_settings, "clustered_oracle")
        assert len(asked) >= 4
        written.append(file_digest(paths.results("clustered_oracle")))
        Path(".scratch").rename(f".scratch-{executor}")
    assert written[0] == written[1]


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", ["capture", "kl"])
def test_a_node_removed_in_the_middle_costs_no_byte(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = outs(stage)
    monkeypatch.setenv(EXECUTOR, "ray")
    node = cluster.add_node(**SIZE)
    at_a_write(2, lambda: cluster.remove_node(node, allow_graceful=False), monkeypatch)
    STAGES[stage][0](settings)
    assert outs(stage) == expected


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", ["capture", "greedy", "kl"])
def test_a_driver_killed_in_the_middle_goes_on_with_the_finished_parts(
    stage: str, settings: Settings, copy: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    expected = outs(stage)
    monkeypatch.setenv(EXECUTOR, "ray")
    driver = multiprocessing.get_context("spawn").Process(target=_driver, args=(stage, settings))
    driver.start()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL
    assert [path for path in Path(".scratch").rglob("*") if path.suffix in (".parquet", ".json")]
    STAGES[stage][0](settings)
    assert outs(stage) == expected


def _driver(stage: str, settings: Settings) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut(patch)
        at_a_write(3, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        STAGES[stage][0](settings)
