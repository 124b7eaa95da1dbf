"""compare: several studies on one page, data/studies.html. Not a DVC stage; `make compare` runs it.

    python -m commands.compare                                   the workspace and DVC's experiments
    python -m commands.compare gemma=../gemma/data qwen=../qwen  folders that hold a metrics.json

A study is its metrics.json; nothing is computed anew.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.report.page.studies import Study, render_studies
from stages.inputs import paths
from stages.run import run_command
from wina_amp.atomic import replacing
from wina_amp.errors import UserError

PAGE = "data/studies.html"

log = logging.getLogger("commands.compare")


def main(named: Sequence[str]) -> None:
    """Write the page of the studies in the folders `named` ("name=folder" or "folder"), or of all experiments.

    Raises:
        UserError: a folder without readable metrics, a name given twice, or fewer than two studies.
    """
    studies = [_from_folder(given) for given in named] if named else [*_from_experiments()]
    names = [study.name for study in studies]
    if len(studies) < 2 or len(set(names)) < len(names):
        raise UserError(
            "At least two studies of different names can stand side by side",
            found=", ".join(names) or "none",
            where="the folders that were named" if named else "DVC's experiments",
            remedy="name folders as name=folder, or run experiments first: make compare COUNTS=2,4,8",
        )
    with replacing(Path(PAGE)) as temporary:
        temporary.write_text(render_studies(studies), encoding="utf-8")
    log.info("%d studies: %s", len(studies), Path(PAGE).resolve())


def _from_folder(given: str) -> Study:
    name, _, folder = given.rpartition("=")
    file = Path(folder) / "metrics.json"
    file = file if file.exists() else Path(folder) / paths.METRICS
    try:
        return _study(name or Path(folder).resolve().name, file.read_text(encoding="utf-8"))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            "A study must be a folder with a metrics.json",
            found=str(error).splitlines()[0],
            where=folder,
            remedy="name the folder `data` of a finished run, or the repository around it",
        ) from error


def _from_experiments() -> Iterator[Study]:
    """The workspace's metrics, then those of every experiment that DVC knows and has results of, by name."""
    from dvc.api import read
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if Path(paths.METRICS).exists():
        yield _study("workspace", Path(paths.METRICS).read_text(encoding="utf-8"))
    repository: Any = Repo()
    known = repository.experiments.ls(all_commits=True)
    for name in sorted({name for experiments in known.values() for name, _ in experiments}):
        try:
            yield _study(name, read(paths.METRICS, rev=name))
        except (DvcException, OSError):
            log.warning("left out: %s has no %s in this cache (`dvc exp pull` fetches it)", name, paths.METRICS)


def _study(name: str, text: str) -> Study:
    return Study(name, {metric: float(value) for metric, value in json.loads(text).items()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="compare", description="Put studies side by side.")
    parser.add_argument("studies", nargs="*", help="name=folder; without any, the workspace and DVC's experiments")
    given = parser.parse_args()
    run_command("compare", lambda: main(given.studies))
