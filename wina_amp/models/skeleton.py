"""The modules of a checkpoint without its weights, for those who need shapes only: nothing but config.json is read."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from wina_amp.errors import UserError
from wina_amp.models.families import family_of
from wina_amp.models.source import model_folder


def skeleton(path: str | Path, revision: str | None) -> PreTrainedModel:
    """The causal LM that a checkpoint's config describes, on the meta device: every shape, no number, no memory.

    Args:
        path: a folder, or a hub id, which then needs a revision.
        revision: commit (or tag) of the hub repository; None for a folder.

    Raises:
        UserError: no such checkpoint, no readable config.json, or an unknown family.
    """
    folder = model_folder(path, revision)
    try:
        config = AutoConfig.from_pretrained(str(folder))
    except Exception as error:
        raise UserError(
            "The config.json of the model must be readable",
            found=str(error).strip().partition("\n")[0] or type(error).__name__,
            where=str(path),
            remedy="run `dvc pull` or `git checkout` to restore the folder, or correct `model.path` in params.yaml",
        ) from error
    family_of(config.model_type, f"config.json of {path}")
    with torch.device("meta"):
        return cast(PreTrainedModel, AutoModelForCausalLM.from_config(config))
