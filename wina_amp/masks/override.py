"""Replace a method of a module or model temporarily."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def overridden(module: nn.Module, name: str, method: Callable[..., Any]) -> Generator[None]:
    """Let `module.<name>` be `method` while the context lasts.

    Guarantee: on exit the module is what it was, with an attribute of its own of that name (accelerate sets some) or
    without one.
    """
    attributes = vars(module)
    before = attributes.get(name)
    attributes[name] = method
    try:
        yield
    finally:
        if before is None:
            del attributes[name]
        else:
            attributes[name] = before
