"""`wina_amp.decode.sequences`: which tokens a pass covers follows from counting them."""

from __future__ import annotations

import torch

from wina_amp.decode.sequences import Sequences

PROMPT = torch.tensor([[False, True, True], [False, False, True]])


def _sequences(is_prompt_masked: bool) -> Sequences:
    return Sequences(torch.tensor([0, 1]), PROMPT & is_prompt_masked, "reference", is_prompt_masked)


def test_chunks_of_a_prompt_are_masked_where_the_prompt_is_and_then_steps_begin():
    sequences = _sequences(is_prompt_masked=True)
    for start, width in ((0, 2), (2, 1)):
        sequences.advance(width)
        assert not sequences.is_step and torch.equal(sequences.eligible, PROMPT[:, start : start + width])
    assert sequences.is_step_next(1) and not sequences.is_step_next(2)
    sequences.advance(1)
    assert sequences.is_step and sequences.eligible is None and sequences.seen == 4


def test_a_dense_prompt_has_no_eligible_tokens():
    sequences = _sequences(is_prompt_masked=False)
    sequences.advance(3)
    assert not sequences.is_step and sequences.eligible is None


def test_several_tokens_behind_the_prompt_are_no_step_and_all_eligible():
    sequences = _sequences(is_prompt_masked=False)
    sequences.advance(2)
    sequences.advance(3)
    assert not sequences.is_step
    assert sequences.eligible.tolist() == [[False, True, True]] * 2
