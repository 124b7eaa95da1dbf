"""A pool of workers for independent tasks; results do not depend on how many workers there are.

A model this small runs fastest on one thread (sums split over threads also round differently), so a second core helps
only as a second process with a model of its own. A worker is whatever `make_worker()` returns, usually an object that
holds a loaded model; every process makes one, and one process is the calling process itself.

    class Worker: ...                                    # holds a model
    def gradients(worker, texts, advance): ...           # a function of a module: it must be possible to pickle it
    with WorkerPool(partial(Worker, settings), processes=2) as pool:
        results = pool.map(gradients, chunks, progress.update)

joblib would do the same, but reports nothing about a task until it is done. The pool neither retries a task nor keeps
results: long stages let tasks write parts (`pipeline/storage/scratch.py`), so a crash loses only the tasks that were
running.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from typing import Any, Generic, Self

import psutil

from pipeline.executors.pool import Advance, Result, Task, Worker
from wina_amp.errors import UserError

PROCESSES = "WINA_AMP_PROCESSES"
"""Environment variable: how many processes a stage may use."""

_FRACTION_OF_MEMORY = 0.5
"""All models together take at most this fraction of the available memory, where the number is not given."""

_START = "spawn"
"""Way to start a process (`multiprocessing`): a fork of a process that runs threads may hang."""

_POLL_SECONDS = 0.2
"""Seconds between two readings of the workers' progress."""

_in_process: tuple[Callable[[], Any], Advance] | None = None
"""In a spawned process: what returns its worker, making it on the first call, and what reports progress."""


def processes(model_bytes: int, *, on_cpu: bool, gpus: int = 1) -> int:
    """Number of processes, each with a model, that this machine has room for: one for every GPU where the model runs on
    one; else one for every `OMP_NUM_THREADS` cores, as long as the models fit into half of the available memory; or the
    value of `PROCESSES`."""
    given = os.environ.get(PROCESSES)  # a number: `stages/run.py` refuses everything else
    if given:
        return int(given)
    if not on_cpu:
        return max(1, gpus)
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    cores = own // int(os.environ.get("OMP_NUM_THREADS") or 1)
    room = _FRACTION_OF_MEMORY * psutil.virtual_memory().available
    return max(1, min(cores, int(room // max(model_bytes, 1))))


class WorkerPool(Generic[Worker]):
    """Workers that run tasks, as a context manager.

    Args:
        make_worker: called once in every process, before its first task: for what is too large to pickle, or too slow
            to make for every task. Can be pickled.
        processes: at most so many workers; one is made in this process, without starting another.
        gpus: names that `CUDA_VISIBLE_DEVICES` takes; every process sees one of them, in turn.

    Guarantee: the processes end with the context, or with this process, however it ends.
    """

    def __init__(self, make_worker: Callable[[], Worker], processes: int, gpus: Sequence[str] = ()) -> None:
        self.processes = processes
        self._worker = cache(make_worker)
        if processes > 1:
            context = get_context(_START)
            self._progress: SimpleQueue[int] = context.SimpleQueue()
            own_gpu: SimpleQueue[str] = context.SimpleQueue()
            for number in range(processes if gpus else 0):
                own_gpu.put(gpus[number % len(gpus)])
            self._executor = ProcessPoolExecutor(
                processes, mp_context=context, initializer=_begin, initargs=(make_worker, self._progress, own_gpu)
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.processes > 1:
            self._executor.shutdown(cancel_futures=True)

    def map(
        self,
        function: Callable[[Worker, Task, Advance], Result],
        tasks: Sequence[Task],
        advance: Advance = lambda _done: None,
    ) -> list[Result]:
        """See `Pool`."""
        if self.processes <= 1:
            return [function(self._worker(), task, advance) for task in tasks]
        try:
            futures = [self._executor.submit(_run, function, task) for task in tasks]
            self._watch(futures, advance)
            return [future.result() for future in futures]
        except BrokenProcessPool as error:
            raise UserError(
                "All worker processes must live until the tasks are done",
                found="one of them ended, most likely because memory ran out; its own message, if any, stands above",
                where=f"{self.processes} processes, each with a model of its own",
                remedy=f"set {PROCESSES}=1; finished parts are kept",
            ) from error

    def _watch(self, futures: Sequence[Future[Any]], advance: Advance) -> None:
        """Pass progress on until all are done or one has failed; raise what that one raised."""
        running = set(futures)
        while running:
            done, running = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            while not self._progress.empty():
                advance(self._progress.get())
            for future in done:
                future.result()


def _begin(make_worker: Callable[[], Any], progress: SimpleQueue[int], own_gpu: SimpleQueue[str]) -> None:
    global _in_process
    if not own_gpu.empty():  # as many as processes, or none
        os.environ["CUDA_VISIBLE_DEVICES"] = own_gpu.get()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _in_process = cache(make_worker), progress.put


def _run(function: Callable[[Any, Any, Advance], Any], task: Any) -> Any:
    assert _in_process is not None
    worker, advance = _in_process
    return function(worker(), task, advance)


def _end_with_parent() -> None:
    """End this process when its parent has ended: a parent that is killed cannot tell its children to stop."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
