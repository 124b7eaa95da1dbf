"""`pipeline.allocation.blockwise`: every block meets every target, at errors that rise with it."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.allocation.blockwise import block_paths
from pipeline.models.projections import projections
from tests.allocation.blocks import BINS, random_model, score_counts, texts

TARGETS = (0.25, 0.5, 0.65)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_every_block_meets_every_target_with_rising_errors(kind) -> None:
    loaded = random_model(kind)
    found = list(
        block_paths(
            loaded,
            texts(),
            score_counts(loaded, "wina"),
            bins=BINS,
            criterion="wina",
            stop=max(TARGETS),
            step=0.2,
            dense_prefix=1,
            budget=200,
        )
    )
    assert [one.block for one in found] == [0, 1]
    for one in found:
        costs = {p.name: p.gated_weights for p in projections(loaded.model) if p.block == one.block}
        assert one.projections == tuple(costs)
        at_targets = [one.path.at(target) for target in TARGETS]
        for target, (sparsity, _) in zip(TARGETS, at_targets, strict=True):
            rounding = 1e-12  # float64 sums of seven numbers of order 1
            assert np.average(sparsity, weights=list(costs.values())) == pytest.approx(target, abs=rounding)
        errors = [error for _, error in at_targets]
        assert 0 < errors[0] < errors[1] < errors[2]
