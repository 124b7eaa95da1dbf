"""The start and end of every stage: settings, logging, threads, what must not change, and errors for the user.

`python -m stages <stage>` from the repository root is the only way stages are started (`stages/__main__.py`): in a DVC
experiment the current folder is a temporary copy, and `-m` is what makes Python import that copy's code rather than the
workspace's.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from pipeline.config import params
from pipeline.config.params import Settings
from pipeline.storage.scratch import hold
from stages.inputs.fingerprint import Fingerprint
from wina_amp.atomic import remove
from wina_amp.errors import UserError
from wina_amp.names import DENSE

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

log = logging.getLogger("stages")


def run_stage() -> None:
    """Run the stage that the command line and `DVC_STAGE` name; see `run_command`.

    A stage that finds at its end that its code, data or settings have changed meanwhile fails, without its outs.
    """
    parser = argparse.ArgumentParser(prog="python -m stages")
    parser.add_argument("stage", help="a module of stages/: capture, evaluate, ...")
    parser.add_argument("--name", help="which scheme, profile set, router or method of params.yaml")
    given = parser.parse_args()
    family, _, item = os.environ.get("DVC_STAGE", "").rpartition(":")[2].partition("@")
    name = given.name or item or None
    stage = family or (DENSE if name == DENSE else given.stage)

    def work() -> None:
        settings = params.load()
        fingerprint = Fingerprint(settings, stage, None if name == DENSE else name)
        hold(fingerprint.title)
        main = import_module(f"stages.{given.stage}").main
        limit_threads()
        main(*((settings,) if name is None else (settings, name)))
        try:
            fingerprint.refuse_changes(params.load())
        except UserError:
            for out in fingerprint.outs:
                remove(Path(out))
            raise

    run_command(f"{given.stage} {name}" if name else given.stage, work)


def run(main: Callable[[Settings], None]) -> None:
    """Run a command without arguments on the settings; see `run_command`."""
    title = _command_name()
    argparse.ArgumentParser(prog=title).parse_args()
    run_command(title, lambda: main(params.load()))


def run_command(title: str, work: Callable[[], None]) -> None:
    """Run any command in the way of a stage: logging, threads, and a `UserError` as one paragraph and exit code 2."""
    start_logging()
    limit_threads()
    began = time.perf_counter()
    try:
        work()
    except UserError as error:
        sys.stderr.write("\n" + textwrap.fill(f"{title} stopped. {error}", width=100, break_long_words=False) + "\n\n")
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
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _command_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.rpartition(".")[2] if spec else "command"


def start_logging() -> None:
    """Our own modules report progress; libraries speak up only to warn."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, stream=sys.stderr)
    for name in ("wina_amp", "pipeline", "stages", "commands", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
