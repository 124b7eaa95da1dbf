"""check: are the settings sound and the inputs there? Not a DVC stage; `make repro` runs it first, in about a second.

Every stage checks the settings itself, but DVC fills them into paths before any stage starts: a profile set that does
not exist would be DVC's "missing file" instead of a sentence about params.yaml. The same goes for folders that DVC
reads.
"""

from __future__ import annotations

from pathlib import Path

from pipeline.config import ModelSettings, Settings
from pipeline.errors import UserError
from stages.run import run

REFERENCE_MODEL = Path("data/reference/model")


def main(settings: Settings) -> None:
    """Raise a `UserError` for the first input that is missing; `run` has already checked the settings."""
    _check_model(settings.model)
    _need_folder(REFERENCE_MODEL, "The embedded reference model", "`git checkout data/reference` restores it")
    remedy = "correct `benchmark.include` in params.yaml; `git checkout data/benchmark` restores the embedded tasks"
    _need_folder(Path(settings.benchmark.include), "The folder of task files", remedy)


def _check_model(model: ModelSettings) -> None:
    if Path(model.path).is_dir():
        return
    names = model.path.split("/")
    if len(names) != 2 or not all(names) or model.path.startswith((".", "/", "data/")):
        remedy = "correct the path in params.yaml; `git checkout data/reference` restores the reference model"
        raise _error("`model.path` must be a folder or a hub id (`owner/name`)", "no such folder", model.path, remedy)
    if model.revision is None:
        remedy = "set `model.revision` to a commit of the checkpoint, or `model.path` to a folder"
        raise _error("A hub checkpoint needs a pinned `model.revision`", "null", "`model.revision`", remedy)


def _need_folder(folder: Path, what: str, remedy: str) -> None:
    if not folder.is_dir():
        raise _error(f"{what} must exist", "no such folder", str(folder), remedy)


def _error(must: str, found: str, where: str, remedy: str) -> UserError:
    return UserError(must, found=found, where=where, remedy=remedy)


if __name__ == "__main__":
    run(main)
