"""The scheduler at the size of a cluster: the stages' pool on many loopback nodes, with tasks that wait.

    python -m benchmarks.cluster                            # 8 nodes of 4 workers, 780 tasks of 0.5 to 1.5 times 0.8 s
    python -m benchmarks.cluster --lost 3                   # and so many workers that end in the middle
    python -m benchmarks.cluster --seconds 0 --tasks 64 --megabytes 32 --nodes 2   # what the driver writes in a second

Workers wait, so that 32 of them have room on two cores: what is measured is the pool, Ray and the driver's writing, the
only things that do not grow with the cluster. Prints the time, and the workers' time at work over all of their time
(`busy`); the start of workers is left out. docs/scaling.md says what follows.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.executors.ray_pool import ADDRESS, Needs, RayPool
from pipeline.storage.parts import Parts

ROOT = Path(__file__).resolve().parents[1]
FILES = {name: ROOT / name for name in ("pipeline", "wina_amp", "benchmarks")}


@dataclass(frozen=True)
class Task:
    """One part: how long it takes, how large it is, and whether its first worker ends at it."""

    name: str
    seconds: float
    size: int
    is_lost: bool


class Worker:
    """Writes parts."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts


def work(worker: Worker, task: Task, advance: Callable[[int], object]) -> float:
    """Wait, then write; seconds at work."""
    began = time.perf_counter()
    if task.is_lost and not worker.parts.has(f"lost-{task.name}"):
        worker.parts.write(f"lost-{task.name}", b"")
        os._exit(1)
    time.sleep(task.seconds)
    worker.parts.write(task.name, os.urandom(task.size))
    advance(1)
    return time.perf_counter() - began


def begin(_worker: Worker, _task: int, _advance: Callable[[int], object]) -> None:
    """Long enough for every worker to take one."""
    time.sleep(2)


def main() -> None:
    """Measure and print."""
    options = _options()
    from ray.cluster_utils import Cluster

    size = {"num_cpus": options.workers, "memory": 10**9, "object_store_memory": 4 * 10**8}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    for _ in range(options.nodes - 1):
        cluster.add_node(**size)
    os.environ[ADDRESS] = cluster.address
    try:
        with tempfile.TemporaryDirectory() as folder:
            _measure(options, _tasks(options), Path(folder))
    finally:
        cluster.shutdown()


def _measure(options: argparse.Namespace, tasks: Sequence[Task], folder: Path) -> None:
    done: list[int] = []
    with RayPool(partial(Worker, Parts(folder)), None, Needs(1, 1000), FILES, dict, {}) as pool:
        workers = pool.processes
        pool.map(begin, range(2 * workers))
        began = time.perf_counter()
        at_work = pool.map(work, tasks, done.append)
        seconds = time.perf_counter() - began
    waited, written = sum(task.seconds for task in tasks), sum(task.size for task in tasks) / 1e6
    print(f"{workers} workers on {options.nodes} nodes, {len(tasks)} tasks, {options.lost} workers lost")
    print(f"{seconds:.1f} s, at best {waited / workers:.1f} s; busy {waited / workers / seconds:.1%}")
    print(f"{sum(done)} units of progress, {written:.0f} MB written, {written / seconds:.0f} MB/s")
    print(f"a task took {(sum(at_work) - waited) / len(tasks) * 1000:.0f} ms beyond its wait")


def _tasks(options: argparse.Namespace) -> list[Task]:
    """Longest first, as stages order theirs."""
    draw = random.Random(0)
    lengths = sorted((options.seconds * draw.uniform(0.5, 1.5) for _ in range(options.tasks)), reverse=True)
    lost = {*draw.sample(range(options.tasks), options.lost)}
    return [Task(f"{n:05d}", length, int(options.megabytes * 1e6), n in lost) for n, length in enumerate(lengths)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--workers", type=int, default=4, help="of each node")
    parser.add_argument("--tasks", type=int, default=780)
    parser.add_argument("--seconds", type=float, default=0.8, help="a task waits, on average")
    parser.add_argument("--megabytes", type=float, default=0.1, help="of a part")
    parser.add_argument("--lost", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
