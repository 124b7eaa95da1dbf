"""What runs on a Ray cluster: an actor with a worker, and the desk where it asks the driver.

No file system is shared. A worker reads the files that came with it, and what it keeps goes to the driver: an object
whose class lists methods in `on_driver` (the finished parts, `pipeline/storage/parts.py`) stays there when a task is
pickled, and a worker has a stand-in for it whose methods run in the driver. Ray knows calls from a driver to actors
only, so both meet at an actor that holds questions until the driver fetches them.

Nothing here imports Ray: the driver turns these classes into actors.
"""

from __future__ import annotations

import asyncio
import io
import os
import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

Call = tuple[int, str, tuple[Any, ...]]
"""Number of an object of the driver, one of its methods, arguments."""

Ask = Callable[[Call], Any]

_TOLD_EVERY = 0.5
"""Seconds between two reports of progress."""


class Desk:
    """An actor where workers leave questions and progress, and the driver answers."""

    def __init__(self) -> None:
        self._open: dict[int, asyncio.Future[bytes]] = {}
        self._questions: list[tuple[int, bytes]] = []
        self._progress = self._count = 0
        self._arrived = asyncio.Event()

    async def ask(self, question: bytes) -> bytes:
        """A worker's: the driver's answer."""
        self._count += 1
        answer = self._open[self._count] = asyncio.get_running_loop().create_future()
        self._questions.append((self._count, question))
        self._arrived.set()
        return await answer

    async def tell(self, progress: int) -> None:
        """A worker's: so many units are done."""
        self._progress += progress
        self._arrived.set()

    async def fetch(self, seconds: float) -> tuple[int, list[tuple[int, bytes]]]:
        """The driver's: progress and questions that have arrived; waits so long for the first."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)
        progress, questions = self._progress, self._questions
        self._progress, self._questions = 0, []
        self._arrived.clear()
        return progress, questions

    async def answer(self, number: int, answer: bytes) -> None:
        """The driver's: the answer to a question."""
        self._open.pop(number).set_result(answer)


class Actor:
    """An actor that holds a worker.

    Args:
        make_worker: pickled by `to_bytes`.
        facts: returns what must be the same for all workers.
        tell, ask: the desk's, blocking.
    """

    def __init__(
        self, make_worker: bytes, facts: Callable[[], dict[str, str]], tell: Callable[[int], None], ask: Ask
    ) -> None:
        self._make, self._facts, self._tell, self._ask = make_worker, facts, tell, ask
        self._worker: Any = None

    def ready(self) -> dict[str, str]:
        """Make the worker; returns what must be the same for all of them. A worker whose node goes away meanwhile, and
        takes the folder with the code along, ends like one whose node is gone."""
        try:
            facts = self._facts()
            self._worker = from_bytes(self._make, self._ask)()
        except FileNotFoundError:
            if not _has_folder():
                os._exit(1)
            raise
        return facts

    def run(self, call: bytes) -> Any:
        """The result of `function(worker, task, advance)`."""
        function, task = from_bytes(call, self._ask)
        progress = _Progress(self._tell)
        result = function(self._worker, task, progress.advance)
        progress.report()
        return result


def _has_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


class _Progress:
    """Progress since the last report."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell, self._units, self._last = tell, 0, time.monotonic()

    def advance(self, units: int) -> None:
        self._units += units
        if time.monotonic() - self._last > _TOLD_EVERY:
            self.report()

    def report(self) -> None:
        if self._units:
            self._tell(self._units)
        self._units, self._last = 0, time.monotonic()


class _StandIn:
    """An object of the driver, in a worker: its methods run there."""

    def __init__(self, number: int, methods: tuple[str, ...], ask: Ask) -> None:
        for method in methods:
            setattr(self, method, partial(self._call, number, method, ask))

    @staticmethod
    def _call(number: int, method: str, ask: Ask, *arguments: Any) -> Any:
        return ask((number, method, arguments))


class DriverObjects:
    """The objects of the driver that workers have stand-ins for."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def to_bytes(self, value: Any) -> bytes:
        """Pickled, but for the objects that stay here."""
        file = io.BytesIO()
        _Pickler(file, self._objects).dump(value)
        return file.getvalue()

    def answer(self, question: bytes) -> bytes:
        """What a call returns, or the error that it raises."""
        number, method, arguments = pickle.loads(question)
        try:
            return pickle.dumps((True, getattr(self._objects[number], method)(*arguments)))
        except Exception as error:  # it is raised in the worker, and comes back with its task
            return pickle.dumps((False, error))


def from_bytes(pickled: bytes, ask: Ask) -> Any:
    """What `DriverObjects.to_bytes` has pickled, with stand-ins for the objects of the driver."""
    return _Unpickler(io.BytesIO(pickled), ask).load()


def result_of(answer: bytes) -> Any:
    """What a call of an object of the driver returned; raises what it raised."""
    is_result, value = pickle.loads(answer)
    if not is_result:
        raise value
    return value


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, objects: list[Any]) -> None:
        super().__init__(file)
        self._objects = objects

    def persistent_id(self, obj: Any) -> tuple[int, tuple[str, ...]] | None:
        methods = getattr(type(obj), "on_driver", None)
        if methods is None:
            return None
        if obj not in self._objects:
            self._objects.append(obj)
        return self._objects.index(obj), methods


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, ask: Ask) -> None:
        super().__init__(file)
        self._ask = ask

    def persistent_load(self, pid: tuple[int, tuple[str, ...]]) -> _StandIn:
        return _StandIn(*pid, self._ask)
