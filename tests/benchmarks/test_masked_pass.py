"""`benchmarks.masked_pass` runs from end to end, and its thresholds mask what they say."""

from __future__ import annotations

import pytest
import torch

from benchmarks.masked_pass import WAYS, lines, profiles, random_prompts
from pipeline.evaluate.engine import running
from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.padding import right_padded

PROMPTS, BATCH = 3, 512


def test_every_kind_of_work_gets_a_line_with_a_ratio_for_every_mask(tiny_loaded: LoadedModel):
    said = lines(tiny_loaded, PROMPTS, BATCH, 0.5, 2)
    assert [line.split()[0] for line in said] == ["blocks", "choices", "answers"]
    assert all(line.count("[") == len(WAYS) - 1 for line in said)


@pytest.mark.parametrize("way", ["teal", "wina", "topk"])
def test_the_masks_of_a_way_mask_about_the_sparsity_that_was_asked_for(tiny_loaded: LoadedModel, way: str):
    prompts = random_prompts(PROMPTS, int(tiny_loaded.model.config.vocab_size))
    ids, lengths = right_padded(prompts)
    counted = eligible(lengths, lengths, ids.shape[1], 1)
    with torch.inference_mode(), running(tiny_loaded, profiles(tiny_loaded, prompts, BATCH, 0.5)[way], 1) as engine:
        _, counts = engine.forward(ids, [0] * PROMPTS, counted)
    assert counts is not None and engine.runtime is not None
    # In the first block q, k and v read what they were calibrated on; behind them thresholds drift.
    features = tiny_loaded.model.config.hidden_size
    kept = counts.kept[:, :3].sum(dim=0) / (features * counts.tokens.sum())
    assert torch.allclose(kept, torch.tensor(0.5), atol=0.02)
