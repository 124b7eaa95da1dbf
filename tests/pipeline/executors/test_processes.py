"""`pipeline.executors.processes`: every task once, by as many workers as asked for; errors are passed on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipeline.executors.processes import PROCESSES, WorkerPool, processes
from wina_amp.errors import UserError

ROOT = Path(__file__).parents[3]


def make(folder: Path) -> Path:
    (folder / f"made-{os.getpid()}").touch()
    return folder


def write(folder: Path, task: int, advance) -> int:
    advance(task)
    (folder / f"{task}").write_text(str(os.getpid()))
    advance(1)
    time.sleep(0.3)  # long enough for another process to take the next task
    return 2 * task


def refuse(_folder: Path, task: int, _advance) -> None:
    raise UserError("The task must be good", found=task, where="here", remedy="take another")


def refuse_to_begin() -> Path:
    raise UserError("The model must be there", found="none", where="there", remedy="get one")


def die(_folder: Path, _task: int, _advance) -> None:
    os._exit(9)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_task_is_done_once_by_as_many_processes_as_asked_for_each_with_a_worker_of_its_own(
    tmp_path: Path, count: int
):
    tasks, done = [3, 8, 5, 6, 7, 4], []
    with WorkerPool(partial(make, tmp_path), count) as pool:
        assert pool.map(write, tasks, done.append) == [6, 16, 10, 12, 14, 8]
    by = {(tmp_path / f"{task}").read_text() for task in tasks}
    assert len(by) == count
    assert (str(os.getpid()) in by) == (count == 1)
    assert {path.name.removeprefix("made-") for path in tmp_path.glob("made-*")} == by
    assert sum(done) == sum(tasks) + len(tasks)


def visible(_folder: Path, _task: int, _advance) -> str:
    time.sleep(0.3)
    return os.environ["CUDA_VISIBLE_DEVICES"]


def test_every_process_sees_one_of_the_gpus_in_turn(tmp_path: Path):
    with WorkerPool(partial(make, tmp_path), 2, gpus=["3", "GPU-7f"]) as pool:
        assert {*pool.map(visible, range(4))} == {"3", "GPU-7f"}


def count_earlier(folder: Path, task: str, advance) -> None:
    time.sleep(0.05)
    (folder / task).write_text(str(sum(path.name.startswith("early") for path in folder.iterdir())))
    advance(1)


@pytest.mark.parametrize("count", [1, 2])
def test_a_map_begins_when_the_earlier_one_is_done_with_the_same_workers(tmp_path: Path, count: int):
    early, late, done = [f"early{n}" for n in range(5)], [f"late{n}" for n in range(3)], []
    with WorkerPool(partial(make, tmp_path), count) as pool:
        for tasks in (early, [], late):
            assert pool.map(count_earlier, tasks, done.append) == [None] * len(tasks)
    assert [(tmp_path / task).read_text() for task in late] == ["5"] * 3
    assert len(list(tmp_path.glob("made-*"))) == count
    assert sum(done) == 8


@pytest.mark.parametrize("count", [1, 2])
def test_no_worker_is_made_for_no_tasks(tmp_path: Path, count: int):
    with WorkerPool(partial(make, tmp_path), count) as pool:
        assert pool.map(write, []) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_task_or_of_making_a_worker_reaches_the_user(tmp_path: Path, count: int):
    with (
        pytest.raises(UserError, match=r"must be good\. Found: 5\. Where: here\. What to do: take another\."),
        WorkerPool(partial(make, tmp_path), count) as pool,
    ):
        pool.map(refuse, [5, 5])
    with pytest.raises(UserError, match="The model must be there"), WorkerPool(refuse_to_begin, count) as pool:
        pool.map(write, [5, 6])


def refuse_the_first(folder: Path, task: int, advance) -> None:
    if task == 0:
        refuse(folder, task, advance)
    write(folder, task, advance)


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_that_have_not_begun_are_dropped_after_an_error(tmp_path: Path, count: int):
    with pytest.raises(UserError, match="must be good"), WorkerPool(partial(make, tmp_path), count) as pool:
        pool.map(refuse_the_first, range(20))
    assert not (tmp_path / "19").exists()


def test_a_process_that_dies_is_an_error_that_says_what_to_do(tmp_path: Path):
    with (
        pytest.raises(UserError, match=f"must live until the tasks are done.*{PROCESSES}=1"),
        WorkerPool(partial(make, tmp_path), 2) as pool,
    ):
        pool.map(die, [1, 2, 3])


def test_processes_end_with_a_parent_that_is_killed(tmp_path: Path):
    code = (
        "import os, sys, threading, time\nfrom functools import partial\nfrom pathlib import Path\n"
        "from tests.pipeline.executors.test_processes import make, sleep\n"
        "from pipeline.executors.processes import WorkerPool\n"
        "if __name__ == '__main__':\n"
        "    threading.Timer(20, os._exit, [1]).start()\n"
        "    with WorkerPool(partial(make, Path(sys.argv[1])), processes=2) as pool:\n"
        "        pool.map(sleep, [1, 2])\n"
    )
    script = tmp_path / "parent.py"
    script.write_text(code)
    made = tmp_path / "made"
    made.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(made)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    _wait(lambda: len(list(made.iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(path.name.removeprefix("made-")) for path in made.iterdir()]
    _wait(lambda: not any(Path(f"/proc/{child}/cmdline").exists() for child in children))


def sleep(_folder: Path, _task: int, _advance) -> None:
    time.sleep(60)


def _wait(until) -> None:
    for _ in range(300):
        if until():
            return
        time.sleep(0.1)
    raise AssertionError("waited for 30 seconds")


def test_the_number_of_processes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(PROCESSES, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: range(6))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert processes(1, on_cpu=True) == 3
    assert processes(1, on_cpu=False) == 1
    assert processes(1, on_cpu=False, gpus=8) == 8
    assert processes(10**15, on_cpu=True) == 1  # a model that has no room twice
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert processes(1, on_cpu=True) == 4
    monkeypatch.setenv(PROCESSES, "5")
    assert processes(10**15, on_cpu=False) == 5
