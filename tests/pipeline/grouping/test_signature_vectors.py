"""`pipeline.grouping.signature_vectors`: every vector lands at its sample and site, and gaps are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
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
    return pd.DataFrame(table, columns=["sample_id", "block", "site", "vector"]).sample(frac=1, random_state=0)


def test_vectors_are_ordered_by_sample_then_block_then_site() -> None:
    vectors = signature_vectors(rows(), ["c", "a"])
    assert vectors.shape == (2, 8, 3)
    assert vectors[:, :, 0].tolist() == [[ord("c")] * 8, [ord("a")] * 8]
    assert vectors[0, :, 1:].tolist() == [[block, site] for block in range(2) for site in range(4)]


def test_first_blocks_only() -> None:
    assert np.array_equal(signature_vectors(rows(), ["a"], blocks=1), signature_vectors(rows(), ["a"])[:, :4])


def test_a_missing_signature_and_too_many_blocks_are_the_users_errors() -> None:
    with pytest.raises(UserError, match="1 samples without, for example z"):
        signature_vectors(rows(), ["a", "z"])
    with pytest.raises(UserError, match="3 of 2"):
        signature_vectors(rows(), ["a"], blocks=3)
