"""The model under study, as every stage that runs it loads it, and what identifies it in a fingerprint.

Not a stage. PyTorch is imported when a model is loaded, not before: stages that may need no model start without it.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import NO_TRANSFORM, ModelSettings
from pipeline.errors import UserError
from pipeline.scratch import file_digest
from stages.run import limit_threads

if TYPE_CHECKING:
    from pipeline.models.load import LoadedModel

ROTATIONS_PATH = "data/rotations"
ROTATION_FACTS = "facts.json"


def load_model(model: ModelSettings) -> LoadedModel:
    """Load the checkpoint that `settings.model` describes, and transform it if they say so.

    Raises:
        UserError: see `pipeline.models.load.load`; the stored rotations are missing, damaged, or another model's.
    """
    from pipeline.models.load import load

    limit_threads()
    loaded = load(model.path, revision=model.revision, dtype=model.dtype, device=model.device)
    if model.transform != NO_TRANSFORM:
        from pipeline.models.rotation_files import rotate_model

        _check_facts(model)
        rotate_model(loaded, ROTATIONS_PATH)
    return loaded


def model_identity(model: ModelSettings) -> dict[str, Any]:
    """What distinguishes this model from any other, JSON-serialisable, for the fingerprint of a `Scratch`."""
    folder = Path(model.path)
    rotations = None
    if model.transform != NO_TRANSFORM:
        # Imported before the scratch is opened: its digest covers the code that is loaded by then.
        import_module("pipeline.models.rotation_files")
        rotations = file_digest(ROTATIONS_PATH)
    return asdict(model) | {"files": file_digest(folder) if folder.is_dir() else None, "rotations": rotations}


def rotation_facts(model: ModelSettings) -> dict[str, str | None]:
    """What stored rotations were made for: the transform, and all that the weights depend on."""
    return {
        "transform": model.transform,
        "path": model.path,
        "revision": model.revision,
        "dtype": model.dtype,
    }


def _check_facts(model: ModelSettings) -> None:
    path = Path(ROTATIONS_PATH, ROTATION_FACTS)
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
    if found != rotation_facts(model):
        raise UserError(
            f"Stored rotations must be those of the model: {rotation_facts(model)}",
            found=found,
            where=str(path),
            remedy="run `dvc repro`, which makes them again where they are out of date",
        )
