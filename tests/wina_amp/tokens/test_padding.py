"""`wina_amp.tokens.padding`: every sequence stands at the start of its row, and nothing but padding is behind it."""

from __future__ import annotations

import pytest

from wina_amp.tokens.padding import right_padded


@pytest.mark.parametrize("pad", [0, -1, 7])
def test_rows_are_the_sequences_with_padding_behind_them(pad: int):
    sequences = [[3, 4, 5], [6], [], [8, 9]]
    ids, lengths = right_padded(sequences, pad)
    assert lengths.tolist() == [3, 1, 0, 2]
    assert ids.tolist() == [sequence + [pad] * (3 - len(sequence)) for sequence in sequences]


def test_sequences_of_equal_length_are_not_padded():
    ids, lengths = right_padded([[1, 2], [3, 4]], padding=-1)
    assert ids.tolist() == [[1, 2], [3, 4]] and lengths.tolist() == [2, 2]
