"""`wina_amp.cli.stopwatch`: the prompt and the first token are not decoding time."""

from __future__ import annotations

import pytest
import torch
from transformers.generation.streamers import BaseStreamer

from wina_amp.cli.stopwatch import Stopwatch


class Heard(BaseStreamer):
    """A streamer that keeps what it gets."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def put(self, value: torch.Tensor) -> None:
        self.values.append(value.tolist())

    def end(self) -> None:
        self.values.append("end")


def test_the_mean_is_over_the_tokens_behind_the_first_and_everything_is_handed_on() -> None:
    times, inner = iter([10.0, 11.0, 14.0]), Heard()
    watch = Stopwatch(lambda: next(times), inner)
    for value in ([1, 2, 3], [4], [5], [6]):
        watch.put(torch.tensor(value))
    watch.end()
    assert (watch.tokens, watch.seconds_per_token) == (3, pytest.approx(2.0))
    assert inner.values == [[1, 2, 3], [4], [5], [6], "end"]


def test_one_token_says_nothing_about_decoding() -> None:
    watch = Stopwatch(lambda: 1.0)
    for value in ([1, 2, 3], [4]):
        watch.put(torch.tensor(value))
    assert (watch.tokens, watch.seconds_per_token) == (1, None)
