"""The speed of decoding, as `generate()` hands out its tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.generation.streamers import BaseStreamer


class Stopwatch(BaseStreamer):
    """A streamer that notes when every token came, and hands it on.

    The first token is not counted as decoded: the prompt ran for it.

    Args:
        now: the time in seconds, after work that was started is done (`wina_amp.decode.interleaved.clock`).
        inner: gets all tokens, too.
    """

    def __init__(self, now: Callable[[], float], inner: BaseStreamer | None = None) -> None:
        self._now, self._inner = now, inner
        self._times: list[float] = []
        self._has_prompt = False

    def put(self, value: torch.Tensor) -> None:
        """Called by `generate()` with the prompt, then with every token."""
        if self._has_prompt:
            self._times.append(self._now())
        self._has_prompt = True
        if self._inner is not None:
            put: Any = self._inner.put
            put(value)

    def end(self) -> None:
        """Called by `generate()` at the end."""
        if self._inner is not None:
            end: Any = self._inner.end
            end()

    @property
    def tokens(self) -> int:
        """New tokens so far."""
        return len(self._times)

    @property
    def seconds_per_token(self) -> float | None:
        """The mean over decoded tokens; None where none came after the first."""
        return (self._times[-1] - self._times[0]) / (len(self._times) - 1) if len(self._times) > 1 else None
