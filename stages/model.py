"""The model under study, as every stage that runs it loads it, and what identifies it in a fingerprint.

Not a stage. PyTorch is imported when a model is loaded, not before: stages that may need no model start without it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ModelSettings
from pipeline.scratch import file_digest
from stages.run import limit_threads

if TYPE_CHECKING:
    from pipeline.models.load import LoadedModel


def load_model(model: ModelSettings) -> LoadedModel:
    """Load the checkpoint that `settings.model` describes; see `pipeline.models.load.load` for the errors."""
    from pipeline.models.load import load

    limit_threads()
    return load(model.path, revision=model.revision, dtype=model.dtype, device=model.device)


def model_identity(model: ModelSettings) -> dict[str, Any]:
    """What distinguishes this model from any other, JSON-serialisable, for the fingerprint of a `Scratch`."""
    folder = Path(model.path)
    return asdict(model) | {"files": file_digest(folder) if folder.is_dir() else None}
