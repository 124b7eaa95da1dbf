"""`wina_amp.decode.sequences`: which tokens a pass covers follows from where it starts."""

from __future__ import annotations

import torch

from wina_amp.decode.sequences import Sequences, Tally

PROMPT = torch.tensor([[False, True, True], [False, False, True]])


def _sequences(is_prompt_masked: bool) -> Sequences:
    return Sequences(torch.tensor([0, 1]), PROMPT & is_prompt_masked, "reference", is_prompt_masked)


def test_chunks_of_a_prompt_are_masked_where_the_prompt_is_and_then_steps_begin():
    sequences = _sequences(is_prompt_masked=True)
    for start, width in ((0, 2), (2, 1)):
        sequences.begin(start, width)
        assert not sequences.is_step and torch.equal(sequences.eligible, PROMPT[:, start : start + width])
    assert sequences.is_step_at(3, 1) and not sequences.is_step_at(3, 2)
    sequences.begin(3, 1)
    assert sequences.is_step and sequences.eligible is None and sequences.seen == 4


def test_a_dense_prompt_has_no_eligible_tokens():
    sequences = _sequences(is_prompt_masked=False)
    sequences.begin(0, 3)
    assert not sequences.is_step and sequences.eligible is None


def test_several_tokens_behind_the_prompt_are_no_step_and_all_eligible():
    sequences = _sequences(is_prompt_masked=False)
    sequences.begin(2, 3)
    assert not sequences.is_step
    assert sequences.eligible.tolist() == [[False, True, True]] * 2


def test_a_pass_that_goes_back_is_masked_as_the_first_time():
    sequences = _sequences(is_prompt_masked=True)
    for start in (0, 6, 1):
        sequences.begin(start, 4)
    assert sequences.eligible.tolist() == [[True, True, True, True], [False, True, True, True]]


def test_the_eligible_tokens_of_every_pass_are_counted():
    sequences = _sequences(is_prompt_masked=True)
    sequences.tally = Tally(1, sequences.groups)
    for start, width in ((0, 3), (3, 1), (4, 2)):
        sequences.begin(start, width)
    assert sequences.tally.eligible.tolist() == [2 + 1 + 2, 1 + 1 + 2]


def test_counts_of_calls_of_other_sequences_add_up():
    total = Tally(3, torch.tensor([0]))
    for sequences in (2, 5):
        counted = Tally(3, torch.zeros(sequences, dtype=torch.int64))
        counted.kept += torch.arange(3)[:, None]
        counted.eligible += 4
        total.add(counted)
    assert total.kept[:, 0].tolist() == [0, 7, 14] and total.eligible.tolist() == [28]
