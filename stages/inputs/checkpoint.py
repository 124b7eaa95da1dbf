"""The checkpoint's files, compared with what `stages/manifest.py` listed.

DVC watches no checkpoint outside the repository. Whoever reads one makes sure that it is the listed one, by hashes that
are remembered (`wina_amp/models/checksums.py`), so that files are read once more only where they were written to:
before a plain `dvc repro`, or while a stage runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from stages.inputs import paths
from wina_amp.errors import UserError
from wina_amp.models import manifest
from wina_amp.models.checksums import Checksums
from wina_amp.models.source import checkpoint_files, model_folder


def checked_folder(path: str, revision: str | None, *, remote_code: bool, listed: str = paths.MANIFEST) -> Path:
    """The folder of a checkpoint.

    Args:
        path, revision, remote_code: the settings of `model`.
        listed: the list of its files: all of them, or `paths.TOKENIZER`, those that texts depend on.

    Raises:
        UserError: a file is another one.
    """
    folder = model_folder(path, revision, remote_code=remote_code)
    files = checkpoint_files(folder, remote_code=remote_code)
    if listed == paths.TOKENIZER:
        files = {name: file for name, file in files.items() if not manifest.is_weights(name)}
    changed = manifest.differences(manifest.read(listed), files, checksums())
    if changed:
        raise UserError(
            f"The checkpoint must be the one that {listed} describes",
            found="; ".join(changed[:3]),
            where=path,
            remedy=manifest.REMEDY,
        )
    return folder


def checksums() -> Checksums:
    """The hashes of checkpoint files that this repository remembers, shared with experiments in temporary folders."""
    return Checksums(Path(os.environ.get("DVC_ROOT") or Path.cwd()) / ".scratch" / "checksums.json")
