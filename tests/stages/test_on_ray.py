"""Every stage that spreads work, on a Ray cluster: the same bytes as in one process, whoever ends in the middle.

Workers, nodes and the driver are killed by the driver itself, when it is asked to write a part: whoever asks is at work
then, and loses it. Skipped where Ray is not installed; `make ray` installs it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
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

METHOD = "clustered_oracle"

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
@pytest.mark.parametrize("ends", ["workers", "a node", "the driver"])
def test_whoever_ends_during_an_evaluation_costs_no_byte(
    ends: str, evaluate_settings: Settings, cluster: Any, monkeypatch: pytest.MonkeyPatch
):
    make_inputs(evaluate_settings)
    evaluate.main(evaluate_settings, METHOD)
    expected = file_digest(paths.results(METHOD))
    Path(paths.results(METHOD)).unlink()
    Path(".scratch").rename(".scratch-local")
    monkeypatch.setenv(EXECUTOR, "ray")
    if ends == "the driver":
        _end_the_driver(_evaluate, evaluate_settings)
        asked = []
    elif ends == "a node":
        node = cluster.add_node(**SIZE)
        asked = at_a_write(2, lambda: cluster.remove_node(node, allow_graceful=False), monkeypatch)
    else:
        asked = at_a_write(2, _kill_workers, monkeypatch)
    _evaluate(evaluate_settings)
    assert file_digest(paths.results(METHOD)) == expected
    assert ends == "the driver" or len(asked) >= 4


def _evaluate(settings: Settings) -> None:
    evaluate.main(settings, METHOD)


@pytest.mark.tried("cluster", "recomputed")
@pytest.mark.parametrize("stage", ["capture", "greedy", "kl"])
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
    _end_the_driver(_run_stage, settings, stage)
    STAGES[stage][0](settings)
    assert outs(stage) == expected


def _run_stage(settings: Settings, stage: str) -> None:
    STAGES[stage][0](settings)


def _end_the_driver(run: Callable[..., None], *arguments: object) -> None:
    """Run in a process of its own, which is killed when two parts are written."""
    driver = multiprocessing.get_context("spawn").Process(target=_driver, args=(run, arguments))
    driver.start()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL
    assert [path for path in Path(".scratch").rglob("*") if path.suffix in (".parquet", ".json")]


def _driver(run: Callable[..., None], arguments: tuple[object, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        cut(patch)
        at_a_write(3, lambda: os.kill(os.getpid(), signal.SIGKILL), patch)
        run(*arguments)
