"""`wina_amp.tokens.packing`: a row says for every token what its own sequence would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wina_amp.tokens.packing import PackedRow, visible

LENGTHS = [[1], [3], [1, 1], [2, 1, 4], [1, 3, 3, 2, 1]]


def _row(lengths: list[int], prompt: int = 5) -> PackedRow:
    draw = np.random.default_rng([prompt, *lengths])
    return PackedRow(draw.integers(9, size=prompt).tolist(), [draw.integers(9, size=n).tolist() for n in lengths])


@pytest.mark.parametrize("lengths", LENGTHS)
def test_every_token_sees_its_own_sequence_at_its_own_position(lengths: list[int]):
    row = _row(lengths)
    seen = visible(torch.tensor([row.segments]))[0, 0]
    assert len(row.ids) == len(row.positions) == row.width
    ids, positions = torch.tensor(row.ids), torch.tensor(row.positions)
    for continuation, predictors in zip(row.continuations, row.predictors, strict=True):
        sequence = [*row.prompt, *continuation]
        for number, predictor in enumerate(predictors):
            column = len(row.prompt) - 1 + predictor
            # The tokens that a predictor sees are those in front of what it predicts, in their order.
            assert ids[seen[column]].tolist() == sequence[: len(row.prompt) + number]
            assert positions[seen[column]].tolist() == list(range(len(row.prompt) + number))


@pytest.mark.parametrize("lengths", LENGTHS)
def test_a_row_is_plain_exactly_where_causal_attention_and_ordinary_positions_are_right(lengths: list[int]):
    row = _row(lengths)
    causal = torch.ones(row.width, row.width, dtype=torch.bool).tril()
    is_causal = torch.equal(visible(torch.tensor([row.segments]))[0, 0], causal)
    assert row.is_plain == (is_causal and row.positions == list(range(row.width)))


def test_padding_sees_something():
    segments = torch.tensor([[0, 0, 1, -1, -1]])
    assert visible(segments)[0, 0].any(dim=1).all()
