"""`pipeline.latency.texts`: sequences are the samples' own text, of exactly the width that was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.latency.texts import texts

PROMPTS = st.lists(st.integers(0, 6), min_size=1, max_size=9).filter(any)


@given(PROMPTS, st.integers(1, 8), st.integers(1, 40))
def test_a_sequence_is_its_first_sample_and_those_behind_it_cut_to_width(lengths: list[int], batch: int, width: int):
    numbers = iter(range(10_000))
    prompts = [np.array([next(numbers) for _ in range(length)], np.int32) for length in lengths]
    made = texts(prompts, batch, width)
    assert made.ids.shape == (batch, width)
    for row, first in zip(made.ids.tolist(), made.first, strict=True):
        endless = [
            int(token) for start in range(first, first + 50 * len(prompts)) for token in prompts[start % len(prompts)]
        ]
        assert row == endless[:width]


def test_sequences_begin_evenly_apart():
    assert texts([np.array([number]) for number in range(10)], 4, 1).first.tolist() == [0, 2, 5, 7]


def test_no_tokens_are_refused():
    with pytest.raises(ValueError, match="all prompts are empty"):
        texts([np.array([], np.int64)], 1, 4)
