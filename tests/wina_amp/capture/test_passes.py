"""`wina_amp.capture.passes`: counts of groups are those of the obvious loop, and the model is left as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.wina_amp.allocation.blocks import BINS, CONFIGS, random_model, texts
from wina_amp.capture.passes import group_counts
from wina_amp.errors import UserError
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import projection_weights, scores

PREFIX = 2


@pytest.mark.parametrize("kind", CONFIGS)
def test_counts_are_those_of_one_text_at_a_time(kind: str):
    loaded = random_model(kind)
    chosen = [text for text in texts() if text.length <= loaded.context][:5]
    groups = np.arange(len(chosen)) % 2
    counts = group_counts(loaded, chosen, groups, criterion="wina", bins=BINS, dense_prefix=PREFIX, budget=40)
    histograms, chosen = counts[0], [text for text, group in zip(chosen, groups, strict=True) if group == 0]
    assert len(counts) == 2
    for p in projections(loaded.model):
        seen: list[np.ndarray] = []
        weights = projection_weights("wina", p)
        hook = p.module.register_forward_pre_hook(
            lambda _module, args, seen=seen, weights=weights: seen.append(scores(args[0][0, PREFIX:], weights).numpy())
        )
        with torch.no_grad():
            for text in chosen:
                loaded.model(input_ids=torch.tensor([text.ids[:-1]]))
        hook.remove()
        counted = histograms[p.block, p.name]
        total = sum(part.size for part in seen)
        assert counted.sum() == total
        expected = BINS.histogram(np.concatenate([part.ravel() for part in seen]))
        # Batches are padded here: a score at the edge of a bin may fall on the other side of it.
        assert np.abs(counted - expected).sum() <= 0.01 * total
    assert not any(p.module._forward_pre_hooks for p in projections(loaded.model))


def test_a_broken_score_is_refused():
    loaded = random_model("llama")
    projections(loaded.model)[3].module.weight[0, 0] = torch.inf
    message = r"score must be finite\. Found: NaN or infinity\. Where: block 0, projection (gate|up)"
    with pytest.raises(UserError, match=message):
        group_counts(
            loaded, texts()[:2], np.zeros(2, np.int64), criterion="teal", bins=BINS, dense_prefix=PREFIX, budget=100
        )
