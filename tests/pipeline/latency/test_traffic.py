"""`pipeline.latency.traffic`: bytes are those of the weights that are read, counted one weight at a time."""

from __future__ import annotations

import pytest
import torch

from pipeline.latency.steps import SparseSteps
from pipeline.latency.traffic import LEAST_COPIED, Reading, other_bytes, rates, watch
from tests.wina_amp.allocation.blocks import random_model
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.families import INPUT
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights
from wina_amp.scoring.learned_weights import attach

CONTEXT, STEPS = 4, 3
IDS = torch.randint(3, 64, (2, CONTEXT + STEPS), generator=torch.Generator().manual_seed(5))
GROUPS = torch.tensor([1, 0])


def test_kept_bytes_are_those_of_columns_that_any_sequence_keeps():
    loaded = random_model("llama")
    masks = mask_sites(loaded.model, INPUT)
    values = torch.rand(2, 2, len(masks) // 2, generator=torch.Generator().manual_seed(3)) * 0.5
    weights = [feature_weights("wina", site.projection.module.weight, site.projection.name) for site in masks]
    limits = [cutoffs(row, bound) for row, bound in zip(weights, values.reshape(2, -1).unbind(1), strict=True)]
    seen: list[list[torch.Tensor]] = [[] for _ in masks]
    handles = [site.tap.register(seen[number].append) for number, site in enumerate(masks)]
    with torch.inference_mode(), sparse_decoding(loaded, "wina", values) as decoding:
        steps = SparseSteps(loaded.model, IDS, CONTEXT, "eager", decoding, GROUPS)
        steps.get_ready()
        steps.begin()
        for rows in seen:
            rows.clear()
        reading = watch(masks, limits, GROUPS, steps, STEPS)
        steps.close()
    for handle in handles:
        handle.remove()
    expected = 0.0
    for number, site in enumerate(masks):
        for x in seen[number]:
            for feature in range(site.projection.in_features):
                scores = [float(x[row, 0, feature].abs() * weights[number][feature]) for row in range(2)]
                limit = [float(values.reshape(2, -1)[group, number]) for group in GROUPS.tolist()]
                if any(score > bound for score, bound in zip(scores, limit, strict=True)):
                    expected += 4 * len(site.projection.module.weight) / STEPS
    assert reading.kept == pytest.approx(expected) and 0 < reading.kept < reading.offered
    assert reading.offered == sum(4 * site.projection.module.weight.numel() for site in masks)
    assert all(torch.equal(last, rows[-1]) for last, rows in zip(reading.inputs, seen, strict=True))


@pytest.mark.parametrize("is_tied", [False, True])
def test_other_bytes_have_the_head_and_of_the_embeddings_nothing_unless_they_are_the_head(is_tied: bool):
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=is_tied))
    norms, inverse_frequencies = 3 * 16, sum(buffer.numel() for buffer in model.buffers())
    expected = 4 * (50 * 16 + norms + inverse_frequencies)
    assert other_bytes(model, mask_sites(model, INPUT)) == expected
    attach(model, {(each.block, each.name): torch.ones(each.in_features) for each in projections(model)})
    assert other_bytes(model, mask_sites(model, INPUT)) == expected  # cutoffs are made from learned weights once


def test_rates_are_bytes_over_median_seconds():
    now = iter(number * 0.5 for number in range(1000))  # every call takes half a second
    speed = rates([], Reading([], 3e9, 4_000_000_000), 0, 4, torch.device("cpu"), lambda: next(now))
    assert speed.kernels == pytest.approx(6e9) and speed.copy == pytest.approx(2 * LEAST_COPIED / 0.5)
