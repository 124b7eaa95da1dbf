"""Every row of `pipeline.models.families` on a tiny random model: observed, masked, generating; fused equals split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config

from pipeline.eligibility import eligible
from pipeline.histogram import Bins
from pipeline.models.families import FAMILIES, family_of
from pipeline.models.load import LoadedModel
from pipeline.models.projections import projections
from pipeline.observe import Observer
from pipeline.scoring import CRITERIA
from pipeline.sparse.install import install
from tests.allocation.blocks import CONFIGS, SIZES, random_model

IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))
LENGTHS = torch.tensor([9, 4, 7])
COUNTED = eligible(LENGTHS, LENGTHS, 9, 1)
GROUPS = torch.zeros(3, dtype=torch.int64)
FUSED_ROUNDING = 1e-4
"""Absolute, on logits of order 10: one fused float32 product against two or three split ones."""


def _logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits


def _places(loaded: LoadedModel) -> tuple[int, int]:
    projs = projections(loaded.model)
    blocks = projs[-1].block + 1
    return blocks, len(projs) // blocks


def test_every_row_has_a_model_here():
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("kind", CONFIGS)
def test_capture_counts_every_eligible_feature_of_every_projection(kind: str):
    loaded = random_model(kind)
    rows = torch.where(COUNTED, torch.arange(3)[:, None], -1)
    with Observer(loaded, list(CRITERIA), Bins(4)) as observer:
        with observer.batch(rows, rows), torch.inference_mode():
            loaded.decoder(input_ids=IDS, use_cache=False)
        observations = observer.take()
    found = {
        (one.site.block, *scoring): one.counts[:, number].sum(axis=1)
        for one in observations
        for number, scoring in enumerate(one.scorings)
    }
    tokens = COUNTED.sum(dim=1).numpy()
    assert set(found) == {(p.block, p.name, c) for p in projections(loaded.model) for c in CRITERIA}
    for projection in projections(loaded.model):
        for criterion in CRITERIA:
            counts = found[projection.block, projection.name, criterion]
            np.testing.assert_array_equal(counts, tokens * projection.in_features)


@pytest.mark.parametrize("kind", CONFIGS)
def test_thresholds_of_zero_are_the_dense_model_exactly_and_others_are_not(kind: str):
    loaded = random_model(kind)
    dense = _logits(loaded)
    shape = (1, *_places(loaded))
    with install(loaded, "wina", torch.zeros(shape)) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        assert torch.equal(_logits(loaded), dense)
    assert bool((counts.kept > 0).all())
    with install(loaded, "wina", torch.full(shape, 0.5)) as runtime, runtime.rows(GROUPS, COUNTED):
        assert not torch.equal(_logits(loaded), dense)
    assert torch.equal(_logits(loaded), dense)


@pytest.mark.parametrize("kind", CONFIGS)
def test_generate_runs_and_repeats_itself(kind: str):
    loaded = random_model(kind)
    options = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    mask = torch.ones_like(IDS)
    first = loaded.model.generate(IDS, attention_mask=mask, **options)
    assert first.shape == (3, 13)
    assert torch.equal(loaded.model.generate(IDS, attention_mask=mask, **options), first)


def test_a_fused_model_equals_the_split_one_with_the_same_weights_dense_and_masked():
    split = random_model("llama")
    split = replace(
        split,
        model=AutoModelForCausalLM.from_config(LlamaConfig(**SIZES, rms_norm_eps=1e-5)).eval().requires_grad_(False),
    )
    fused_model = AutoModelForCausalLM.from_config(Phi3Config(**SIZES, rms_norm_eps=1e-5)).eval().requires_grad_(False)
    fused = LoadedModel(fused_model, None, torch.device("cpu"), family_of("phi3"))
    weights = split.model.state_dict()
    merged = dict(weights)
    for block in range(SIZES["num_hidden_layers"]):
        for module, names, whole in (("self_attn", "qkv", "qkv_proj"), ("mlp", ("gate", "up"), "gate_up_proj")):
            parts = [merged.pop(f"model.layers.{block}.{module}.{name}_proj.weight") for name in names]
            merged[f"model.layers.{block}.{module}.{whole}.weight"] = torch.cat(parts)
    fused_model.load_state_dict(merged)
    torch.testing.assert_close(_logits(fused), _logits(split), rtol=0, atol=FUSED_ROUNDING)
    # Under teal the three (two) split maps of a site share scores, so equal thresholds are the fused map's one.
    per_site = torch.tensor([0.4, 0.3, 0.5, 0.2])
    for_split = per_site[torch.tensor([0, 0, 0, 1, 2, 2, 3])].expand(1, 2, 7)
    with install(split, "teal", for_split) as runtime, runtime.rows(GROUPS, COUNTED) as split_counts:
        expected = _logits(split)
    with install(fused, "teal", per_site.expand(1, 2, 4)) as runtime, runtime.rows(GROUPS, COUNTED) as fused_counts:
        found = _logits(fused)
    torch.testing.assert_close(found, expected, rtol=0, atol=FUSED_ROUNDING)
    by_site = split_counts.kept.reshape(3, 2, 7)[:, :, [0, 3, 4, 6]]
    assert torch.equal(fused_counts.kept.reshape(3, 2, 4), by_site)
