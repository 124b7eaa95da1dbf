"""`wina_amp.tokens.batching`: every sequence once, within the budget, whatever order they came in."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wina_amp.tokens.batching import batches


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 200))
@settings(max_examples=100, deadline=None)
def test_every_sequence_occurs_once_and_batches_stay_within_the_budget(lengths, budget):
    planned = batches(lengths, [f"{i:03d}" for i in range(len(lengths))], budget)
    assert sorted(i for batch in planned for i in batch) == list(range(len(lengths)))
    for batch in planned:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_batches_do_not_depend_on_the_order_of_the_samples(lengths, seed):
    ids = [f"{i:03d}" for i in range(len(lengths))]
    order = np.random.default_rng(seed).permutation(len(ids))
    named = [[ids[i] for i in batch] for batch in batches(lengths, ids, 100)]
    shuffled = batches([lengths[i] for i in order], [ids[i] for i in order], 100)
    assert [[ids[order[i]] for i in batch] for batch in shuffled] == named


def test_a_batch_is_filled_before_the_next_is_opened():
    assert batches([5, 5, 5, 5, 5], list("abcde"), 10) == [[0, 1], [2, 3], [4]]
