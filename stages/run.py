"""The start of every stage: settings, logging, threads, and errors that the user can read.

A stage file ends with

    if __name__ == "__main__":
        run(main)          # main(settings)
        run_named(main)    # main(settings, name), started by DVC, or as `python -m stages.evaluate --name wina`

`python -m stages.X` from the repository root is the only way stages are started: in a DVC experiment the current
folder is a temporary copy, and `-m` is what makes Python import that copy's code rather than the workspace's.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import textwrap
import time
from collections.abc import Callable

from pipeline.config import params
from pipeline.config.params import Settings
from wina_amp.errors import UserError

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

log = logging.getLogger("stages")


def run(main: Callable[[Settings], None]) -> None:
    """Run a stage that exists once. Exits with 2 and one paragraph on stderr if it raises a `UserError`."""
    argparse.ArgumentParser(prog=_stage_name()).parse_args()
    run_command(_stage_name(), lambda: main(params.load()))


def run_named(main: Callable[[Settings, str], None]) -> None:
    """Run one of a family of stages (a scheme, a profile set, a router, a method): the one that DVC says, or `--name`.

    In dvc.yaml the name is no argument of `cmd`: DVC fills names in before anybody has checked them, and a shell would
    run what they say.
    """
    _, at, running = os.environ.get("DVC_STAGE", "").rpartition("@")
    parser = argparse.ArgumentParser(prog=_stage_name())
    about = "which scheme, profile set, router or method of params.yaml; needed where DVC does not run the stage"
    parser.add_argument("--name", default=running, required=not at, help=about)
    name = parser.parse_args().name
    run_command(f"{_stage_name()} {name}", lambda: main(params.load(), name))


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


def _stage_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name.rpartition(".")[2] if spec else "stage"


def start_logging() -> None:
    """Our own modules report progress; libraries speak up only to warn."""
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING, stream=sys.stderr)
    for name in ("wina_amp", "pipeline", "stages", "commands", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)
