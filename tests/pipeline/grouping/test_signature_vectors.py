"""`pipeline.grouping.signature_vectors`: every vector lands at its sample and site, and gaps are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.grouping.signature_vectors import signature_vectors
from wina_amp.errors import UserError
from wina_amp.models.families import SITES


def rows(samples=("a", "b", "c"), blocks=2, dim=3):
    table = [
        (sample, block, site, np.array([ord(sample), block, SITES.index(site)], dtype=np.float32)[:dim])
        for sample in samples
        for block in range(blocks)
        for site in SITES
    ]
    frame = pd.DataFrame(table, columns=["sample_id", "block", "site", "vector"]).sample(frac=1, random_state=0)
    return pa.Table.from_pandas(frame, preserve_index=False)


def test_vectors_are_ordered_by_sample_then_block_then_site() -> None:
    vectors = signature_vectors([rows()], ["c", "a"])
    assert vectors.shape == (2, 2, 4, 3)
    assert vectors[..., 0].tolist() == [[[ord("c")] * 4] * 2, [[ord("a")] * 4] * 2]
    assert vectors[0, ..., 1:].tolist() == [[[block, site] for site in range(4)] for block in range(2)]


@pytest.mark.parametrize("first", [1, 2])
def test_it_does_not_matter_in_which_part_a_sample_stands(first: int):
    parts = [rows("abc"[:first]), rows("abc"[first:])]
    assert np.array_equal(signature_vectors(parts, ["c", "a", "b"]), signature_vectors([rows()], ["c", "a", "b"]))


def test_first_blocks_only() -> None:
    assert np.array_equal(signature_vectors([rows()], ["a"], blocks=1), signature_vectors([rows()], ["a"])[:, :1])


def test_a_missing_signature_and_too_many_blocks_are_the_users_errors() -> None:
    with pytest.raises(UserError, match="1 samples without, for example z"):
        signature_vectors([rows()], ["a", "z"])
    with pytest.raises(UserError, match="3 of 2"):
        signature_vectors([rows()], ["a"], blocks=3)
