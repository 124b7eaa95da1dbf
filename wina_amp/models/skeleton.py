"""The modules of a checkpoint without its weights, for code that needs shapes only: only config.json is read."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from wina_amp.models.context import load_config
from wina_amp.models.families import family_of


def skeleton(path: str | Path, revision: str | None) -> PreTrainedModel:
    """The causal LM that a checkpoint's config describes, on the meta device: every shape, no number, no memory.

    Args:
        path: a folder, or a hub id, which then needs a revision.
        revision: commit (or tag) of the hub repository; None for a folder.

    Raises:
        UserError: no such checkpoint, no readable config.json, code of its own, or an unknown family.
    """
    config = load_config(path, revision=revision)
    family_of(config.model_type, f"config.json of {path}")
    with torch.device("meta"):
        return cast(PreTrainedModel, AutoModelForCausalLM.from_config(config))
