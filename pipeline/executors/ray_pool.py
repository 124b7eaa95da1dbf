"""A pool whose workers are actors on a Ray cluster; results are those of `processes.WorkerPool`, byte for byte.

Every worker is an actor that reserves what it needs (cores, memory, GPUs). The files that the tasks read, code among
them, travel with the pool: Ray copies them to every node once and starts workers there, in a folder of the same layout.
A worker that ends, with its node or alone, costs the task that it was at: that goes to the next free worker, and
another worker is started as soon as there is room. Ray could restart an actor and repeat its call itself
(`max_restarts`, `max_task_retries`), but would hold the task until that one actor has a place again, while other
workers have nothing to do.

The driver, the process of the stage, must not end; when it is killed, Ray ends its workers, and the next run continues
with the parts that were kept.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Self

from pipeline.executors.pool import EXECUTOR, RAY, Advance, Result, Task, Worker
from pipeline.executors.ray_worker import Actor, Call, Desk, DriverObjects, result_of
from wina_amp.errors import UserError

ADDRESS = "RAY_ADDRESS"
"""Environment variable of Ray: the cluster, `host:port` or `auto`; `local` starts one on this machine."""

MOST_LOST = 3
"""So many workers end at the same task, and it is given up."""

_NO_TASK = -1

_WAIT_SECONDS = 0.2
"""Between two looks for the workers' progress, at most."""

_PASSED_ON = ("OMP_NUM_THREADS", "PYTHONHASHSEED", "TOKENIZERS_PARALLELISM")
"""Environment variables that workers have in common with the driver, besides those of the Hugging Face libraries."""


log = logging.getLogger("pipeline.executors")


@dataclass(frozen=True)
class Needs:
    """What a worker reserves.

    Attributes:
        threads: cores.
        memory: bytes of main memory.
        gpus: their number.
        gpu: Ray's name of their type; workers have the same one.
    """

    threads: int
    memory: int
    gpus: int = 0
    gpu: str | None = None


class RayPool(Generic[Worker]):
    """Workers on the cluster at `ADDRESS`; see `Pool`.

    Args:
        make_worker: called once in every worker. Can be pickled.
        workers: at most so many; None for as many as the cluster has room for.
        needs: of each.
        files: path as the tasks know it -> where it is here, a file or folder.
        facts: returns what moves numbers besides the files (versions, devices), in a worker; can be pickled.
        expected: what it must return; in what is not listed here workers must agree with each other.

    Raises:
        UserError: Ray is not installed, or no cluster is at the address.
    """

    def __init__(
        self,
        make_worker: Callable[[], Worker],
        workers: int | None,
        needs: Needs,
        files: Mapping[str, Path],
        facts: Callable[[], dict[str, str]],
        expected: Mapping[str, str],
    ) -> None:
        self._make, self._most, self._needs, self._files = make_worker, workers, needs, files
        self._facts, self._expected = facts, dict(expected)
        self._objects = DriverObjects()
        self._open = ExitStack()
        self._ray: Any = None
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, int]] = {}

    @property
    def processes(self) -> int:
        """The workers that there is room for, no more than asked for.

        Raises:
            UserError: there is none for one.
        """
        self._connect()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(_room(resources, self._needs) for resources in nodes)
        if not room:
            raise UserError(
                "A node of the cluster must have room for a worker",
                found=f"none of {len(nodes)} has for {self._needs}",
                where=f"{ADDRESS}={os.environ[ADDRESS]}",
                remedy="add larger nodes, or start Ray with the resources that they have (`ray status -v` lists them)",
            )
        return room if self._most is None else min(room, self._most)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def map(
        self,
        function: Callable[[Worker, Task, Advance], Result],
        tasks: Sequence[Task],
        advance: Advance = lambda _done: None,
    ) -> list[Result]:
        """See `Pool`."""
        if not tasks:
            return []
        workers = self.processes
        self._start(workers - len(self._idle))
        waiting, lost, results = deque(range(len(tasks))), Counter[int](), dict[int, Any]()
        while len(results) < len(tasks):
            while waiting and self._idle:
                actor, number = self._idle.pop(), waiting.popleft()
                self._running[actor.run.remote(self._objects.to_bytes((function, tasks[number])))] = actor, number
            [event], _ = self._ray.wait([self._fetched, *self._starting, *self._running])
            if event == self._fetched:
                self._answer(advance)
            elif event in self._starting:
                self._begun(event, workers, lost)
            else:
                actor, number = self._running.pop(event)
                try:
                    results[number] = self._get(event)
                    self._idle.append(actor)
                except self._gone:
                    waiting.appendleft(number)
                    self._replace(actor, number, MOST_LOST, lost)
        self._answer(advance)  # what was told before the last result
        self._answer(advance)
        return [results[number] for number in range(len(tasks))]

    def _connect(self) -> None:
        if self._ray is not None:
            return
        ray = _import_ray()
        folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="wina-amp-"))
        for name, path in self._files.items():
            _copy(path, Path(folder, name))
        _init(ray, folder)
        self._ray = ray
        self._open.callback(ray.shutdown)
        gone = ray.exceptions
        self._gone = (gone.RayActorError, gone.ObjectLostError, gone.WorkerCrashedError, gone.NodeDiedError)
        # The desk stands where the driver runs, so that no other node's end takes it along.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
        self._fetched = self._desk.fetch.remote(_WAIT_SECONDS)

    def _start(self, workers: int) -> None:
        """Start so many; they are ready whenever the cluster has room for them."""
        needs = self._needs
        options: dict[str, Any] = {"num_cpus": needs.threads, "memory": needs.memory, "num_gpus": needs.gpus}
        if needs.gpu:
            options["accelerator_type"] = needs.gpu
        for _ in range(workers - len(self._starting)):
            actor = (
                self._ray.remote(_RayActor)
                .options(**options)
                .remote(self._objects.to_bytes(self._make), self._facts, self._desk)
            )
            self._starting[actor.ready.remote()] = actor

    def _begun(self, event: Any, workers: int, lost: Counter[int]) -> None:
        """A worker is ready, or has ended before."""
        actor = self._starting.pop(event)
        try:
            facts = self._get(event)
        except self._gone:
            return self._replace(actor, _NO_TASK, MOST_LOST * workers, lost)
        self._expected = facts | self._expected
        expected = self._expected.items()
        differ = [f"{name}: {facts[name]}, not {value}" for name, value in expected if facts[name] != value]
        if differ:
            raise UserError(
                "All machines must compute the same bytes",
                found="; ".join(differ),
                where="a node of the Ray cluster",
                remedy="install the same versions everywhere and use one type of device, or leave the node out",
            )
        lost[_NO_TASK] = 0
        self._idle.append(actor)

    def _replace(self, actor: Any, number: int, most: int, lost: Counter[int]) -> None:
        """Start a worker in the place of one that has ended at the task, unless so many have ended there."""
        self._ray.kill(actor)
        lost[number] += 1
        if lost[number] >= most:
            at = "before the first task" if number == _NO_TASK else "at the same task"
            raise UserError(
                "Workers must live until their task is done",
                found=f"{most} of them ended {at}, most likely because memory ran out; their own messages, if any, "
                "stand above",
                where=f"the Ray cluster at {os.environ[ADDRESS]}",
                remedy="use machines with more memory, or lower `tokens.batch`; finished parts are kept",
            )
        log.warning("a worker has ended; another one takes its place")
        self._start(len(self._starting) + 1)

    def _get(self, event: Any) -> Any:
        try:
            return self._ray.get(event)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error

    def _answer(self, advance: Advance) -> None:
        """Do what the workers have asked for."""
        progress, questions = self._ray.get(self._fetched)
        self._fetched = self._desk.fetch.remote(_WAIT_SECONDS)
        if progress:
            advance(progress)
        for number, question in questions:
            self._desk.answer.remote(number, self._objects.answer(question))


class _RayActor(Actor):
    """An actor whose questions go to the desk, an actor, too."""

    def __init__(self, make_worker: bytes, facts: Callable[[], dict[str, str]], desk: Any) -> None:
        ray: Any = import_module("ray")

        def tell(progress: int) -> None:
            ray.get(desk.tell.remote(progress))

        def ask(call: Call) -> Any:
            return result_of(ray.get(desk.ask.remote(pickle.dumps(call))))

        super().__init__(make_worker, facts, tell, ask)


def _import_ray() -> Any:
    if not os.environ.get(ADDRESS):
        raise UserError(
            f"{EXECUTOR}={RAY} needs the address of a cluster",
            found="none",
            where=f"the environment variable {ADDRESS}",
            remedy=f"set {ADDRESS} to host:port of its head, to `auto` on one of its nodes, or to `local` to start one",
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import_module("ray.util.scheduling_strategies")
        return import_module("ray")
    except ImportError as error:
        raise UserError(
            f"{EXECUTOR}={RAY} needs the package ray",
            found="it is not installed",
            where="the Python environment",
            remedy="install it (`pip install -r requirements-ray.txt`), on every node",
        ) from error


def _init(ray: Any, folder: str) -> None:
    passed_on = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("HF_")}
    # Ray would set as many threads as a worker has cores where nothing is said.
    env_vars = {"OMP_NUM_THREADS": "1", **passed_on}
    try:
        ray.init(
            os.environ[ADDRESS],
            runtime_env={"working_dir": folder, "env_vars": env_vars},
            logging_level="WARNING",
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            "A Ray cluster must be at the address, and take the files of the stage",
            found=f"{type(error).__name__}: {error}",
            where=f"{ADDRESS}={os.environ[ADDRESS]}",
            remedy="start it (`ray start --head`), run the stage on one of its nodes, and see docs/scaling.md",
        ) from error


def _room(resources: Mapping[str, float], needs: Needs) -> int:
    """Workers that a node has room for."""
    if needs.gpu and not resources.get(f"accelerator_type:{needs.gpu}"):
        return 0
    wanted = {"CPU": needs.threads, "memory": needs.memory, "GPU": needs.gpus}
    return int(min(resources.get(name, 0) // amount for name, amount in wanted.items() if amount))


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, to, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    elif path.exists():
        shutil.copyfile(path, to)
