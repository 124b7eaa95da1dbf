"""The interface of all pools of workers, and which of them a run uses.

`local` starts processes on this machine (`processes.WorkerPool`), `ray` runs the same workers on a Ray cluster
(`ray_pool.RayPool`). The environment chooses, never a setting: no byte of a table depends on who has computed it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol, Self, TypeVar

from wina_amp.errors import unknown

Advance = Callable[[int], object]
"""Called with the units of progress (samples, passes) since the last call."""

EXECUTOR = "WINA_AMP_EXECUTOR"
"""Environment variable: which of `EXECUTORS` runs the tasks of a stage; empty is `LOCAL`."""

LOCAL, RAY = "local", "ray"
EXECUTORS = (LOCAL, RAY)

Worker = TypeVar("Worker")
Task = TypeVar("Task")
Result = TypeVar("Result")
_Worker = TypeVar("_Worker", covariant=True)


class Pool(Protocol[_Worker]):
    """Workers that run tasks, as a context manager. A worker is whatever the pool was told to make, usually an object
    that holds a loaded model; it is made before its first task, where it runs.
    """

    @property
    def processes(self) -> int:
        """How many tasks run at once, at most."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def map(
        self,
        function: Callable[[_Worker, Task, Advance], Result],
        tasks: Sequence[Task],
        advance: Advance = ...,
    ) -> list[Result]:
        """Call `function(worker, task, advance)` once for every task and return the results in the order of the tasks.

        All tasks are done when it returns, so a later `map`, by the same workers, may depend on their results.

        Args:
            function: a function of a module, or of a class; can be pickled, like what it returns.
            tasks: begun in this order. Can be pickled.
            advance: called in this process with the progress that the tasks report.

        Raises:
            UserError: workers ended, as they do where memory runs out.
            Exception: the first that a task raised; tasks that have not begun are dropped.
        """
        ...


def executor() -> str:
    """The executor that the environment asks for.

    Raises:
        UserError: it is none of `EXECUTORS`.
    """
    given = os.environ.get(EXECUTOR) or LOCAL
    if given not in EXECUTORS:
        raise unknown("executor", given, EXECUTORS, f"the environment variable {EXECUTOR}")
    return given
