"""The model under study, as every stage that runs it loads it.

The files of the checkpoint are compared with its manifest (`stages/inputs/checkpoint.py`). PyTorch is imported when a
model is loaded, not before: stages that may need no model start without it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.inputs import ModelSettings
from pipeline.executors.processes import processes
from pipeline.storage.schemas import FEATURE_WEIGHTS
from stages.inputs import paths
from stages.inputs.checkpoint import checked_folder
from stages.inputs.environment import has_gpu
from stages.run import limit_threads
from wina_amp.errors import RESTORE, UserError
from wina_amp.models import manifest
from wina_amp.names import AUTO, CPU, NO_TRANSFORM, SPREAD

if TYPE_CHECKING:
    from wina_amp.models.load import LoadedModel

ROTATION_FACTS = "facts.json"


def load_model(model: ModelSettings) -> LoadedModel:
    """Load the checkpoint that `settings.model` describes, transformed if they say so, with learned feature weights if
    there are any.

    Without a table of weights, only the criterion that reads them refuses to run.

    Raises:
        UserError: the weights are another model's; and see `load_unweighted`.
    """
    import torch

    from wina_amp.scoring.learned_weights import attach

    loaded = load_unweighted(model)
    rows: Any = FEATURE_WEIGHTS.read(paths.FEATURE_WEIGHTS) if Path(paths.FEATURE_WEIGHTS).is_file() else ()
    if len(rows):
        weights = {
            (row.block, row.projection): torch.from_numpy(row.weights.astype("float32")) for row in rows.itertuples()
        }
        attach(loaded.model, weights)
    return loaded


def load_unweighted(model: ModelSettings) -> LoadedModel:
    """Load it without learned weights.

    Raises:
        UserError: the stored rotations are missing, damaged, or another model's; and see `load_checkpoint`.
    """
    loaded = load_checkpoint(model)
    if model.transform != NO_TRANSFORM:
        from wina_amp.models.rotation_files import rotate_model

        _check_facts(model)
        rotate_model(loaded, paths.ROTATIONS)
    return loaded


def load_checkpoint(model: ModelSettings) -> LoadedModel:
    """Load it as it is stored.

    Raises:
        UserError: the checkpoint is not the one of the manifest; and those of `wina_amp.models.load.load`.
    """
    from wina_amp.models.load import load

    limit_threads()
    folder = checked_folder(model.path, model.revision, remote_code=model.remote_code)
    return load(folder, revision=None, dtype=model.dtype, device=model.device, remote_code=model.remote_code)


def model_processes(model: ModelSettings, tasks: int | None = None) -> int:
    """Number of processes, each with a model of its own, that a stage may use
    (`pipeline.executors.processes.processes`), and no more than it has tasks.

    Raises:
        UserError: the manifest is missing.
    """
    on_cpu = model.device == CPU or (model.device == AUTO and not has_gpu())
    room = processes(model_bytes(), on_cpu=on_cpu, gpus=len(model_gpus(model.device)))
    return room if tasks is None else min(room, tasks)


def model_bytes() -> int:
    """Memory that the weights take at most: float32 of a checkpoint in bfloat16 is twice as large.

    Raises:
        UserError: the manifest is missing.
    """
    return 2 * sum(file.size for file in manifest.read(paths.MANIFEST).files.values())


def model_gpus(device: str) -> list[str]:
    """The GPUs of this machine that processes can share the work on, as `CUDA_VISIBLE_DEVICES` names them: those of the
    type of the first; none for a model on the CPU, or on several of them."""
    if device in (CPU, SPREAD) or not has_gpu():
        return []
    import torch

    numbers = range(torch.cuda.device_count())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, numbers))).split(",")
    names = [torch.cuda.get_device_name(number) for number in numbers]
    return [visible[number] for number in numbers if names[number] == names[0]]


def rotation_facts(model: ModelSettings) -> dict[str, str]:
    """The transform, checkpoint and dtype that stored rotations must have been made for."""
    return {
        "transform": model.transform,
        "checkpoint": manifest.read(paths.MANIFEST).digest,
        "dtype": model.dtype,
    }


def _check_facts(model: ModelSettings) -> None:
    path, remedy = Path(paths.ROTATIONS, ROTATION_FACTS), "run `dvc repro`, which makes them again"
    try:
        stored: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        stored = f"{type(error).__name__}: {error}"
        remedy = RESTORE
    if stored != rotation_facts(model):
        raise UserError(
            f"Stored rotations must be those of the model: {rotation_facts(model)}",
            found=stored,
            where=str(path),
            remedy=remedy,
        )
