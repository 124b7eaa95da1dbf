"""A cache of the intermediate results of the last evaluations."""

from __future__ import annotations

from collections.abc import Hashable

from torch import Tensor


class Recent:
    """Tensors by key; one that nobody asked for during the last `span` evaluations is dropped by `advance`."""

    def __init__(self, span: int) -> None:
        self._span = span
        self._now = 0
        self._kept: dict[Hashable, Tensor] = {}
        self._asked: dict[Hashable, int] = {}

    def get(self, key: Hashable) -> Tensor | None:
        """The tensor, or None."""
        tensor = self._kept.get(key)
        if tensor is not None:
            self._asked[key] = self._now
        return tensor

    def put(self, key: Hashable, value: Tensor) -> Tensor:
        """Keep a tensor; returns it."""
        self._kept[key], self._asked[key] = value, self._now
        return value

    def advance(self, evaluations: int) -> None:
        """So many evaluations are over: forget what is too old."""
        self._now += evaluations
        for key in [key for key, when in self._asked.items() if self._now - when > self._span]:
            del self._kept[key], self._asked[key]
