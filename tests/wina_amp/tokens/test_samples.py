"""`wina_amp.tokens.samples`: rows of the samples table as token ids."""

from __future__ import annotations

import numpy as np
import pandas as pd

from wina_amp.tokens.samples import TokenizedSample, tokenized_samples


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
