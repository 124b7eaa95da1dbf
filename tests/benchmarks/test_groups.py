"""`benchmarks.groups`: the contents of each kind of signature."""

from __future__ import annotations

import numpy as np

from benchmarks.groups import SIGNATURES_OF, signatures

BLOCKS, SITES, DIM, SAMPLES = 3, 2, 4, 40
ROUNDING = 1e-5
"""Of float32 numbers of order 1."""


def test_kinds_of_signatures():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(SAMPLES, BLOCKS * SITES, DIM)).astype(np.float32)
    tokens, train = rng.integers(5, 90, SAMPLES).astype(np.float64), np.arange(SAMPLES) < 30
    by_kind = {kind: signatures(kind, vectors, BLOCKS, tokens, train) for kind in SIGNATURES_OF}
    assert by_kind["all"] is vectors
    np.testing.assert_array_equal(by_kind["first"], vectors[:, :SITES])
    np.testing.assert_array_equal(by_kind["last"], vectors[:, -SITES:])
    np.testing.assert_allclose(np.linalg.norm(by_kind["unit"], axis=2), 1, atol=ROUNDING)
    np.testing.assert_allclose(by_kind["unit"] * np.linalg.norm(vectors, axis=2)[..., None], vectors, atol=ROUNDING)
    length = np.log(tokens)[train] - np.log(tokens)[train].mean()
    covariance = np.tensordot(length, by_kind["no-length"][train], axes=(0, 0))
    np.testing.assert_allclose(covariance, 0, atol=ROUNDING * SAMPLES)
    assert not np.allclose(np.tensordot(length, vectors[train], axes=(0, 0)), 0, atol=0.1)
