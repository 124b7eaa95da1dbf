"""The model under study, as every stage that runs it loads it, and what identifies it in a fingerprint.

Not a stage. What the checkpoint consists of is known from its manifest (`stages/manifest.py`), so no stage hashes
weights; loading only makes sure that names and sizes are still those of the manifest. PyTorch is imported when a model
is loaded, not before: stages that may need no model start without it.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ModelSettings
from pipeline.errors import UserError
from pipeline.models import manifest
from pipeline.models.checksums import Checksums
from stages.run import limit_threads

if TYPE_CHECKING:
    from pipeline.models.load import LoadedModel

MANIFEST_PATH = "data/model.json"


def load_model(model: ModelSettings) -> LoadedModel:
    """Load the checkpoint that `settings.model` describes.

    Raises:
        UserError: the checkpoint is not the one of the manifest; and those of `pipeline.models.load.load`.
    """
    from pipeline.models.load import load
    from pipeline.models.source import checkpoint_files, model_folder

    limit_threads()
    folder = model_folder(model.path, model.revision, remote_code=model.remote_code)
    changed = manifest.differences(
        manifest.read(MANIFEST_PATH), checkpoint_files(folder, remote_code=model.remote_code)
    )
    if changed:
        raise UserError(
            f"The checkpoint must be the one that {MANIFEST_PATH} describes",
            found="; ".join(changed[:3]),
            where=model.path,
            remedy=manifest.REMEDY,
        )
    return load(folder, revision=None, dtype=model.dtype, device=model.device, remote_code=model.remote_code)


def model_identity(model: ModelSettings) -> dict[str, Any]:
    """What distinguishes this model from any other, JSON-serialisable, for the fingerprint of a `Scratch`."""
    return asdict(model) | {"files": manifest.read(MANIFEST_PATH).digest}


def checksums() -> Checksums:
    """The hashes of checkpoint files that this repository remembers, shared with experiments in temporary folders."""
    return Checksums(Path(os.environ.get("DVC_ROOT") or Path.cwd()) / ".scratch" / "checksums.json")
