"""`wina_amp.tokens.samples`: rows of the samples table as token ids."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wina_amp.tokens.samples import TokenizedSample, read_up_to, tokenized_samples


def test_rows_become_samples_in_their_order():
    table = pd.DataFrame(
        {
            "answer_ids": [np.array([7, 8]), np.array([], np.int64)],
            "prompt_ids": [np.array([1]), np.array([2, 3])],
            "sample_id": ["b", "a"],
        },
        index=[4, 2],
    )
    assert tokenized_samples(table) == [TokenizedSample("b", [1], [7, 8]), TokenizedSample("a", [2, 3], [])]


def test_the_answer_follows_the_prompt():
    sample = TokenizedSample("a", [1, 2], [3])
    assert sample.ids == [1, 2, 3] and sample.length == 3


def test_samples_are_read_without_their_last_tokens_until_there_are_enough():
    samples = [TokenizedSample(name, [1, 2], [3, 4]) for name in "abc"]
    for tokens, names in ((1, "a"), (3, "a"), (4, "ab"), (7, "abc"), (100, "abc")):
        read = read_up_to(samples, tokens)
        assert [sample.sample_id for sample in read] == list(names) and all(sample.length == 3 for sample in read)
