"""The workers of a stage: processes of this machine, or actors of a Ray cluster with the files that the stage reads.

On a cluster a worker needs nothing but the checkpoint, and task files outside the repository, at the same paths: code
and data travel along. It refuses to work with other versions of libraries than the driver's; the manifest's hashes tell
another checkpoint.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pipeline.config.inputs import ModelSettings
from pipeline.executors.pool import RAY, Advance, Pool, Task, Worker, executor
from pipeline.executors.processes import PROCESSES, WorkerPool
from stages.inputs.environment import GPU, environment
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.model import model_bytes, model_gpus, model_processes
from stages.run import start_logging
from wina_amp.errors import UserError
from wina_amp.names import CPU, CUDA, SPREAD

log = logging.getLogger("stages")


def run_tasks(
    make_worker: Callable[[], Worker],
    function: Callable[[Worker, Task, Advance], None],
    tasks: Sequence[Task],
    fingerprint: Fingerprint,
    title: str,
    unit: str,
    total: int | None = None,
) -> None:
    """Call `function(worker, task, advance)` once for every task, by `model_workers`, under a progress bar.

    Args:
        make_worker: loads the model; can be pickled.
        function: keeps its result; can be pickled, as tasks can.
        title, unit: of the progress bar.
        total: units of all tasks; None counts tasks.
    """
    with (
        model_workers(make_worker, fingerprint, fingerprint.model, len(tasks)) as pool,
        tqdm(total=len(tasks) if total is None else total, desc=title, unit=unit) as progress,
    ):
        pool.map(function, tasks, progress.update)


def model_workers(
    make_worker: Callable[[], Worker], fingerprint: Fingerprint, model: ModelSettings, tasks: int | None = None
) -> Pool[Worker]:
    """Workers of a stage, each with a model of its own, where the environment wants them.

    Args:
        make_worker: loads the model; can be pickled.
        fingerprint: the stage's; names the files that workers read.
        model: which.
        tasks: no more workers than tasks.

    Raises:
        UserError: see `executor`, `model_processes` and `RayPool`; a GPU that is not named.
    """
    make_worker = partial(_logging, make_worker)
    if executor() != RAY:
        return WorkerPool(make_worker, model_processes(model, tasks), model_gpus(model.device))
    from pipeline.executors.ray_pool import Needs, RayPool

    gpu, gpus = _gpus(model.device)
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    most = [count for count in (tasks, int(os.environ.get(PROCESSES) or 0)) if count]
    return RayPool(
        make_worker,
        min(most, default=None),
        Needs(threads, model_bytes(), gpus, gpu),
        files=fingerprint.files | _checkpoint(model),
        facts=partial(facts, model.device),
        expected=expected_facts(model.device),
    )


def _logging(make_worker: Callable[[], Worker]) -> Worker:
    """A worker that reports progress as the stage does, in whatever process."""
    start_logging()
    return make_worker()


def facts(device: str) -> dict[str, str]:
    """What moves the numbers of a part besides code, data and settings, on the machine that asks."""
    import torch

    known = environment(device)
    # Products use the widest vector instructions that a CPU has, and sum in another order with others.
    return {**known, "instructions": torch.backends.cpu.get_cpu_capability()} if known["device"] == CPU else known


def expected_facts(device: str) -> dict[str, str]:
    """Those of the driver. Where workers have GPUs, they are compared with each other in that."""
    known = facts(device)
    return known if known["device"] == CPU else {name: value for name, value in known.items() if name != "device"}


def _gpus(device: str) -> tuple[str | None, int]:
    """Type and number of the GPUs of a worker."""
    kind, _, number = os.environ.get(GPU, "").partition(":")
    if device == CPU or (device not in (CUDA, SPREAD) and not kind):
        if device != CPU:
            log.info("%s is not set: workers run on CPUs", GPU)
        return None, 0
    if not kind or not (number or "1").isdecimal() or int(number or 1) < 1:
        raise UserError(
            f"{GPU} must name the GPUs of a worker, as Ray does, with their number: H100 or H100:2",
            found=repr(os.environ.get(GPU, "")),
            where="the environment",
            remedy=f"set it to a type that `ray status -v` lists, or `model.device: {CPU}`",
        )
    return kind, int(number or 1)


def _checkpoint(model: ModelSettings) -> dict[str, Path]:
    """A checkpoint of the repository, which is small, by its relative path."""
    path: Any = Path(model.path)
    return {} if path.is_absolute() or not path.is_dir() else {model.path: path}
