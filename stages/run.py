"""The start and end of every stage: settings, logging, threads, what must not change, and errors for the user.

`python -m stages <stage>` from the repository root is the only way stages are started (`stages/__main__.py`): in a DVC
experiment the current folder is a temporary copy, and `-m` is what makes Python import that copy's code rather than the
workspace's.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.storage.scratch import hold
from stages.inputs import durations
from stages.inputs.fingerprint import Fingerprint
from stages.inputs.leftovers import set_aside
from stages.inputs.recorded import check_inputs
from wina_amp.atomic import remove
from wina_amp.errors import UserError
from wina_amp.names import DENSE

THREADS, PROCESSES = "OMP_NUM_THREADS", "WINA_AMP_PROCESSES"
MOST_PROCESSES = 1024
"""Of threads, too."""
MEMORY = {
    "weights": "`learn.batch`",
    "allocate": "`allocate.greedy_tokens` (greedy) or `allocate.kl_tokens` (kl)",
    "latency": "`latency.contexts` or `latency.batches`",
    "report": "`report.bootstrap`",
    "prepare": "`benchmark.train_samples` or `benchmark.test_samples`",
}
"""Stage -> what to lower where memory runs out; `tokens.batch` for all others."""

ALIVE_SECONDS = 30.0

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE)
"""What is no bug of the program, of all errors of the operating system."""

log = logging.getLogger("stages")


def run_stage() -> None:
    """Run the stage that the command line and `DVC_STAGE` name; see `run_command`.

    A stage that finds at its end that its code, data or settings have changed meanwhile fails, without its outs.
    """
    parser = argparse.ArgumentParser(prog="python -m stages")
    parser.add_argument("stage", help="a module of stages/: capture, evaluate, ...")
    parser.add_argument("--name", help="which scheme, profile set, router or method of params.yaml")
    given = parser.parse_args()
    if given.stage == DENSE:  # the only one without a module
        given.stage, given.name = "evaluate", DENSE
    family, item = dvc_stage()
    name = given.name or item or None
    stage = family or (DENSE if name == DENSE else given.stage)

    def work() -> None:
        settings = params.load()
        if family:  # DVC runs the stage
            set_aside(settings)
        fingerprint = Fingerprint(settings, stage, None if name == DENSE else name)
        hold(fingerprint.title)
        if family:
            check_inputs(fingerprint.resolved.values(), fingerprint.taken)
        began = time.perf_counter()
        main = import_module(f"stages.{given.stage}").main
        limit_threads()
        main(*((settings,) if name is None else (settings, name)))
        try:
            fingerprint.refuse_changes(params.load())
        except UserError:
            for out in fingerprint.outs:
                remove(Path(out))
            raise
        outs = {out: fingerprint.taken.digest(out) for out in fingerprint.outs}
        durations.note(fingerprint.title, outs, time.perf_counter() - began)

    run_command(f"{given.stage} {name}" if name else given.stage, work)


def dvc_stage() -> tuple[str, str]:
    """The stage that DVC runs and, of a family, which of it; empty outside DVC."""
    family, _, item = os.environ.get("DVC_STAGE", "").partition("@")
    return family.rpartition(":")[2], item


def run(title: str, main: Callable[[Settings], None]) -> None:
    """Run a command without arguments on the settings; see `run_command`."""
    argparse.ArgumentParser(prog=title).parse_args()
    run_command(title, lambda: main(params.load()))


def run_command(title: str, work: Callable[[], None]) -> None:
    """Run any command in the way of a stage: logging, threads, and one paragraph and exit code 2 for a `UserError`, and
    for what the machine refuses (memory, disk space, permissions)."""
    start_logging()
    began = time.perf_counter()
    try:
        check_environment()
        limit_threads()
        with alive(title):
            work()
    except (UserError, MemoryError, OSError, RuntimeError) as error:
        said = error if isinstance(error, UserError) else _of_the_machine(error, title)
        if said is None:
            raise
        sys.stderr.write("\n" + textwrap.fill(f"{title} stopped. {said}", width=100, break_long_words=False) + "\n\n")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{title} was interrupted; finished parts are kept and `dvc repro` resumes from them.\n")
        sys.exit(EXIT_INTERRUPTED)
    log.info("%s done in %.1f s", title, time.perf_counter() - began)


def limit_threads() -> None:
    """Fix torch's thread count, because sums split over another number of threads round differently.

    One thread unless OMP_NUM_THREADS says otherwise, the same with and without `make`. Torch is only touched if the
    stage has already imported it: most stages need no model and must start without it. A stage that imports torch later
    calls this again.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(int(os.environ.get(THREADS) or 1))


@contextmanager
def alive(title: str) -> Generator[None]:
    """Show every `ALIVE_SECONDS` that the work goes on: by its progress bar, or by a line where there is none."""
    done, began = threading.Event(), time.perf_counter()

    def show() -> None:
        while not done.wait(ALIVE_SECONDS):
            tqdm: Any = getattr(sys.modules.get("tqdm"), "tqdm", None)
            bars = [*getattr(tqdm, "_instances", ())]
            for bar in bars:
                bar.refresh()
            if not bars:
                log.info("%s at work for %.0f s", title, time.perf_counter() - began)

    threading.Thread(target=show, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def check_environment() -> None:
    """Refuse numbers of threads and processes that are none, before anything is computed with them.

    The others are written in one way, because they are compared as text (`stages/inputs/environment.py`).
    """
    for name in (THREADS, PROCESSES):
        given = os.environ.get(name, "").strip()
        if given and not (given.isascii() and given.isdecimal() and 1 <= int(given) <= MOST_PROCESSES):
            raise UserError(
                f"{name} must be a whole number from 1 to {MOST_PROCESSES}, or empty",
                found=repr(given),
                where="the environment",
                remedy=f"correct or unset it (`unset {name}`)",
            )
        if name in os.environ:
            os.environ[name] = str(int(given)) if given else ""


def _of_the_machine(error: Exception, title: str) -> UserError | None:
    """A sentence for memory that has run out and for files that cannot be read or written; None for any other error."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text.lower() or "can't allocate memory" in text:
        lower = MEMORY.get(title.partition(" ")[0], "`tokens.batch`")
        return UserError(
            "The work must fit into memory",
            found=text,
            where="the GPU" if "CUDA" in text else "this machine",
            remedy=f"lower {lower} in params.yaml, set {PROCESSES}=1, or load the weights in bfloat16 (`model.dtype`); "
            "finished parts are kept",
        )
    if isinstance(error, OSError) and error.errno in _REFUSED:
        return UserError(
            "Files must be readable and writable",
            found=error.strerror or type(error).__name__,
            where=str(error.filename or "this machine"),
            remedy="correct the permissions, or free space, then run the command again; finished parts are kept",
        )
    return None


def start_logging() -> None:
    """Our own modules report progress; libraries speak up only to warn."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, stream=sys.stderr)
    for name in ("wina_amp", "pipeline", "stages", "commands", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
