"""Independent pieces of work in several processes; what they make does not depend on how many there are.

A model this small runs fastest on one thread (sums split over threads also round differently), so a second core helps
only as a second process with a model of its own. Pieces leave their results among the parts of a scratch folder
(`pipeline/storage/scratch.py`); the stage then goes on as if an earlier, interrupted run had made them. So there is one
account of what a stage computes, and a crash loses only the pieces that were running.

    def work(model, group, advance): ...           # a function of a module: it must be possible to pickle it
    finish(work, groups, make=partial(load_model, settings), processes=2, advance=progress.update)

joblib would do the same, but says nothing about a piece until it is finished.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context, parent_process
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar, cast

import psutil

from wina_amp.errors import UserError

Advance = Callable[[int], object]
"""Told how much was done since the last call."""

PROCESSES = "WINA_AMP_PROCESSES"
"""Environment variable: how many processes a stage may use."""

_SHARE_OF_MEMORY = 0.5
"""All models together take at most this share of the memory that is available, where the number is not given."""

_LOOK = 0.2
"""Seconds between two looks at what the processes have to say."""

State = TypeVar("State")
Piece = TypeVar("Piece")

Crew = Callable[[Callable[[State, Any], Any], Sequence[Any]], list[Any]]
"""(work, pieces) -> what `work(made, piece)` has returned for every piece."""

_worker: tuple[Callable[[], Any], Advance] | None = None
"""In a process that was started: what it makes, and makes once, and how it tells what it has done."""


def processes(model_bytes: int, *, on_cpu: bool) -> int:
    """How many processes, each with a model, this machine has room for: one where the model runs on a GPU; else one for
    every `OMP_NUM_THREADS` cores, as long as the models fit into half of the available memory; or what `PROCESSES`
    says.

    Args:
        model_bytes: size of the model's weights.
        on_cpu: whether it runs on the CPU.

    Raises:
        UserError: `PROCESSES` is no whole number of at least 1.
    """
    given = os.environ.get(PROCESSES, "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise UserError(
                f"{PROCESSES} must be a whole number of at least 1, or empty",
                found=repr(given),
                where="the environment",
                remedy=f"correct or unset it (`unset {PROCESSES}`)",
            )
        return int(given)
    if not on_cpu:
        return 1
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # macOS has none
    cores = own // int(os.environ.get("OMP_NUM_THREADS") or 1)
    room = _SHARE_OF_MEMORY * psutil.virtual_memory().available
    return max(1, min(cores, int(room // max(model_bytes, 1))))


def finish(
    work: Callable[[State, Piece, Advance], None],
    pieces: Sequence[Piece],
    *,
    make: Callable[[], State],
    processes: int,
    advance: Advance = lambda _done: None,
) -> None:
    """Call `work(made, piece, advance)` for every piece, in this process if one is enough.

    Args:
        work: keeps what it makes itself; what it calls `advance` with is passed on. Can be pickled.
        pieces: begun in this order. Can be pickled.
        make: called once in every process, before its first piece: for what is too large to hand over, or too slow to
            make again. Can be pickled.
        processes: at most so many at a time.
        advance: called in this process, with what the pieces report.

    Raises:
        UserError: a process died, as it does where memory runs out.
        Exception: the first that a piece raised; pieces that have not begun are dropped.

    Guarantee: the processes end with this one, however it ends.
    """
    finish_rounds([(work, pieces)], make=make, processes=processes, advance=advance)


def finish_rounds(
    rounds: Sequence[tuple[Callable[[State, Any, Advance], None], Sequence[Any]]],
    *,
    make: Callable[[], State],
    processes: int,
    advance: Advance = lambda _done: None,
) -> None:
    """Several `finish` in turn, by the same processes: no piece begins before all pieces of earlier rounds are done.

    Args:
        rounds: work and pieces of each; see `finish` for these, the other arguments, errors and guarantee.
    """
    count = min(processes, max((len(pieces) for _, pieces in rounds), default=0))
    if count <= 1:
        made = make() if count else None
        for work, pieces in rounds:
            for piece in pieces:
                work(cast(State, made), piece, advance)
        return
    context = get_context("spawn")  # a fork of a process that runs threads may hang
    told: SimpleQueue[int] = context.SimpleQueue()
    with ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(make, told)) as pool:
        try:
            with _explained(count):
                for work, pieces in rounds:
                    _finish_one(pool, work, pieces, told, advance)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def crew(make: Callable[[], State], processes: int) -> Generator[Crew[State]]:
    """Processes that answer again and again, for work whose next pieces depend on what the last ones have found.

    Args:
        make: called once in every process, before its first piece. Can be pickled.
        processes: how many; one is this process itself.

    Yields: call it with a function and pieces, both of which can be pickled; it returns what the function has returned
        for every piece, in their order.

    Raises:
        UserError: a process died.

    Guarantee: the processes end with the context, or with this process, however it ends.
    """
    if processes <= 1:
        made = make()
        yield lambda work, pieces: [work(made, piece) for piece in pieces]
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_begin, initargs=(make, context.SimpleQueue())
    ) as pool:

        def ask(work: Callable[[State, Any], Any], pieces: Sequence[Any]) -> list[Any]:
            with _explained(processes):
                return [one.result() for one in [pool.submit(_answer, work, piece) for piece in pieces]]

        try:
            yield ask
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _explained(count: int) -> Generator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise UserError(
            "The processes that share the work must live until it is done",
            found="one of them ended, most likely because memory ran out; if it said why, that stands above",
            where=f"{count} processes, each with a model of its own",
            remedy=f"set {PROCESSES}=1; finished parts are kept",
        ) from error


def _finish_one(
    pool: ProcessPoolExecutor,
    work: Callable[[Any, Any, Advance], None],
    pieces: Sequence[Any],
    told: SimpleQueue[int],
    advance: Advance,
) -> None:
    """One round."""
    running: set[Future[None]] = {pool.submit(_one, work, piece) for piece in pieces}
    while running:
        done, running = wait(running, timeout=_LOOK)
        while not told.empty():
            advance(told.get())
        for one in done:
            one.result()


def _begin(make: Callable[[], Any], told: SimpleQueue[int]) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = cache(make), told.put


def _one(work: Callable[[Any, Any, Advance], None], piece: Any) -> None:
    assert _worker is not None
    make, advance = _worker
    work(make(), piece, advance)


def _answer(work: Callable[[Any, Any], Any], piece: Any) -> Any:
    assert _worker is not None
    return work(_worker[0](), piece)


def _end_with_parent() -> None:
    """A parent that is killed cannot tell its children to stop."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
