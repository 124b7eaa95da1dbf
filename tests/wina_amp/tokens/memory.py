"""A model on a device with room for so many rows."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch

from wina_amp.models.load import LoadedModel


@contextmanager
def room_for(loaded: LoadedModel, rows: int) -> Generator[None]:
    """Memory runs out in the last block of a pass over more rows than that: what is before it has been observed."""

    def allocate(_module: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        hidden = arguments[0] if arguments else named["hidden_states"]
        if len(hidden) > rows:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    hook = loaded.decoder.layers[-1].register_forward_pre_hook(allocate, with_kwargs=True)  # pyright: ignore
    try:
        yield
    finally:
        hook.remove()
