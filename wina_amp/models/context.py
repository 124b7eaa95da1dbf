"""A checkpoint's config, and the context length of the model, which it decides.

Where attention slides over a window, the window is the limit: inside it sliding and full attention are the same, and
every measurement is of one well-defined model.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from transformers import AutoConfig, PreTrainedConfig

from wina_amp.errors import UserError
from wina_amp.models.advice import FETCH, first_line
from wina_amp.models.integrity import refuse_code
from wina_amp.models.source import model_folder


def context_of(config: PreTrainedConfig) -> int:
    """The largest number of tokens a sequence may have."""
    window = getattr(config, "sliding_window", None)
    positions = int(config.max_position_embeddings)
    return positions if window is None else min(positions, int(window))


def load_config(path: str | Path, *, revision: str | None, remote_code: bool = False) -> PreTrainedConfig:
    """The config of a checkpoint on disk or on the hub, without its weights.

    Raises:
        UserError: it cannot be read, or is defined by code that may not be run.
    """
    folder = model_folder(path, revision, remote_code=remote_code)
    if not remote_code and (folder / "config.json").is_file():
        refuse_code(folder)
    try:
        return cast(PreTrainedConfig, AutoConfig.from_pretrained(str(folder), trust_remote_code=remote_code))
    except Exception as error:
        raise UserError(
            "The model must have a readable config.json", found=first_line(error), where=str(path), remedy=FETCH
        ) from error


def load_context(path: str, *, revision: str | None, remote_code: bool = False) -> int:
    """`context_of` a checkpoint on disk or on the hub, without its weights.

    Raises:
        UserError: its config cannot be read, or is defined by code that may not be run.
    """
    return context_of(load_config(path, revision=revision, remote_code=remote_code))
