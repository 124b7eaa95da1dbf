"""`pipeline.executors.ray_pool` on a cluster of loopback nodes: what `WorkerPool` does, and workers and nodes that end.

Skipped where Ray is not installed; `make ray` installs it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.executors.ray_pool import ADDRESS, MOST_LOST, Needs, RayPool
from tests.pipeline.executors.ray_cluster import ROOT, cluster, needs_ray
from tests.pipeline.executors.test_processes import count_earlier, make, refuse, refuse_to_begin, write
from wina_amp.errors import UserError

__all__ = ["cluster"]

FILES = {name: ROOT / name for name in ("pipeline", "wina_amp", "tests")}
SMALL = Needs(threads=1, memory=1_000_000)


def pool(
    make_worker: Callable[[], Any],
    workers: int | None = None,
    needs: Needs = SMALL,
    facts: Callable[[], dict[str, str]] = dict,
    expected: dict[str, str] | None = None,
) -> RayPool[Any]:
    return RayPool(make_worker, workers, needs, FILES, facts, expected or {})


@needs_ray
def test_every_task_is_done_once_by_the_workers_and_a_later_map_has_the_same_ones(cluster: Any, tmp_path: Path):
    done: list[int] = []
    with pool(partial(make, tmp_path)) as two:
        assert two.processes == 2
        assert two.map(write, [3, 8, 5, 6, 7, 4], done.append) == [6, 16, 10, 12, 14, 8]
        assert sum(done) == 33 + 6
        assert two.map(write, []) == []
        two.map(count_earlier, ["early0", "early1", "early2"])
        two.map(count_earlier, ["late0"])
    assert (tmp_path / "late0").read_text() == "3"
    made = {path.name.removeprefix("made-") for path in tmp_path.glob("made-*")}
    assert {(tmp_path / f"{task}").read_text() for task in (3, 8, 5, 6, 7, 4)} == made and len(made) == 2
    assert str(os.getpid()) not in made


@needs_ray
def test_an_error_of_a_task_or_of_making_a_worker_reaches_the_user(cluster: Any, tmp_path: Path):
    with pytest.raises(UserError, match=r"must be good\. Found: 5"), pool(partial(make, tmp_path), 1) as one:
        one.map(refuse, [5])
    with pytest.raises(UserError, match="The model must be there"), pool(refuse_to_begin, 1) as one:
        one.map(write, [5])


def end_at_first(folder: Path, task: int, advance: Callable[[int], object]) -> int:
    """Ends its process where no earlier attempt has."""
    flag = folder / f"ended-{task}"
    if task % 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    advance(1)
    return task


@needs_ray
@pytest.mark.tried("cluster", "recomputed")
def test_the_task_of_a_worker_that_ends_goes_to_another_one(cluster: Any, tmp_path: Path):
    with pool(partial(make, tmp_path)) as two:
        assert two.map(end_at_first, [1, 2, 3, 4]) == [1, 2, 3, 4]
    assert len(list(tmp_path.glob("ended-*"))) == 2


def end(_folder: Path, _task: int, _advance: Callable[[int], object]) -> None:
    os._exit(9)


@needs_ray
@pytest.mark.tried("cluster", "refused")
def test_a_task_that_ends_every_worker_is_given_up(cluster: Any, tmp_path: Path):
    with (
        pytest.raises(UserError, match=f"{MOST_LOST} of them ended at the same task.*memory"),
        pool(partial(make, tmp_path)) as two,
    ):
        two.map(end, [1])


def facts_of(folder: Path) -> dict[str, str]:
    """Another GPU on every machine: here, in every process."""
    return {"torch": "1", "device": str(os.getpid())}


@needs_ray
@pytest.mark.tried("cluster", "refused")
@pytest.mark.parametrize(
    ("expected", "said"),
    [
        pytest.param({"torch": "2"}, "torch: 1, not 2", id="another version of a library"),
        pytest.param({"torch": "1"}, r"device: \d+, not \d+", id="two types of GPU"),
    ],
)
def test_workers_that_would_compute_other_bytes_are_refused(
    cluster: Any, tmp_path: Path, expected: dict[str, str], said: str
):
    with (
        pytest.raises(UserError, match=f"must compute the same bytes.*{said}"),
        pool(partial(make, tmp_path), facts=partial(facts_of, tmp_path), expected=expected) as two,
    ):
        two.map(write, [1, 2, 3, 4, 5, 6])


@needs_ray
@pytest.mark.tried("cluster", "refused")
@pytest.mark.parametrize(
    "needs",
    [
        pytest.param(Needs(1, 10**15), id="memory"),
        pytest.param(Needs(64, 1), id="cores"),
        pytest.param(Needs(1, 1, 1, "H100"), id="a GPU"),
    ],
)
def test_a_worker_that_no_node_has_room_for_is_refused(cluster: Any, tmp_path: Path, needs: Needs):
    with (
        pytest.raises(UserError, match=r"must have room for a worker.*none of 2"),
        pool(partial(make, tmp_path), needs=needs) as none,
    ):
        none.map(write, [1])


@pytest.mark.tried("cluster", "refused")
def test_ray_without_an_address_or_the_package_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ADDRESS, raising=False)
    with pytest.raises(UserError, match=f"{ADDRESS} to host:port"), pool(partial(make, tmp_path)) as none:
        none.map(write, [1])
    monkeypatch.setenv(ADDRESS, "127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"requirements-ray\.txt"), pool(partial(make, tmp_path)) as none:
        none.map(write, [1])
