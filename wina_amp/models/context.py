"""A checkpoint's config, and the context length of the model, which it decides.

Where attention slides over a window, the window is the limit: inside it sliding and full attention are the same, and
every measurement is of one well-defined model. The same goes for rotary embeddings that change with the length of the
longest sequence of a batch (`longrope` of Phi-3.5 and Phi-4-mini, `dynamic`): up to the length from which they change,
a sample's numbers do not depend on what it is batched with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from transformers import AutoConfig, PreTrainedConfig

from wina_amp.errors import UserError
from wina_amp.models.advice import FETCH, first_line
from wina_amp.models.integrity import refuse_code
from wina_amp.models.source import model_folder

LONGROPE, DYNAMIC = "longrope", "dynamic"


def context_of(config: PreTrainedConfig) -> int:
    """The largest number of tokens a sequence may have."""
    limits = (config.max_position_embeddings, getattr(config, "sliding_window", None), rope_change(config)[1])
    return min(int(limit) for limit in limits if limit is not None)


def rope_change(config: PreTrainedConfig) -> tuple[str | None, int | None]:
    """How rotary embeddings change with the length of the longest sequence of a batch, and up to how many tokens they
    are as for short ones; None and None if they do not.

    `longrope` changes once, from one list of factors to another; `dynamic` with every further token.
    """
    given: Any = getattr(config, "rope_parameters", None) or {}
    # Where layers differ, there are parameters for each type of layer.
    for parameters in (given, *(inner for inner in given.values() if isinstance(inner, dict))):
        kind = parameters.get("rope_type")
        if kind == LONGROPE:
            name = "original_max_position_embeddings"
            return LONGROPE, int(parameters.get(name) or getattr(config, name))
        if kind == DYNAMIC:
            return DYNAMIC, int(config.max_position_embeddings)
    return None, None


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
