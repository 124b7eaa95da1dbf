"""Every row of `wina_amp.models.families` on a tiny random model: observed, masked, generating; fused equals split."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config

from pipeline.compute.operations import Work, realised_sparsity
from pipeline.evaluate.method import shape_of
from tests.reference.sparse import cats_mlp
from tests.wina_amp.allocation.blocks import CONFIGS, SIZES, random_model
from wina_amp.capture.observe import Observer
from wina_amp.histograms.bins import Bins
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.masks.kinds import MASKS
from wina_amp.models.families import FAMILIES, family_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import CRITERIA
from wina_amp.scoring.learned_weights import attach

WITHOUT_PROMPTS = sorted({*MASKS} - {"prompt"})
"""Kinds of masks that take a pass without knowing where its prompts end."""

IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))
LENGTHS = torch.tensor([9, 4, 7])
COUNTED = eligible(LENGTHS, LENGTHS, 9, 1)
GROUPS = torch.zeros(3, dtype=torch.int64)
FUSED_ROUNDING = 1e-4
"""Absolute, on logits of order 10: one fused float32 product against two or three split ones."""


def _logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits


def _shape(loaded: LoadedModel, criterion: str) -> tuple[int, int]:
    masks = mask_sites(loaded.model, CRITERIA[criterion].reads)
    blocks = masks[-1].projection.block + 1
    return blocks, len(masks) // blocks


def test_every_row_has_a_model_here():
    assert set(CONFIGS) == set(FAMILIES)


@pytest.mark.parametrize("kind", CONFIGS)
def test_capture_counts_every_eligible_feature_of_every_projection(kind: str):
    loaded = random_model(kind)
    attach(loaded.model, {(each.block, each.name): torch.ones(each.in_features) for each in projections(loaded.model)})
    rows = torch.where(COUNTED, torch.arange(3)[:, None], -1)
    with Observer(loaded, list(CRITERIA), Bins(4)) as observer:
        with observer.batch(rows, rows), torch.inference_mode():
            loaded.decoder(input_ids=IDS, use_cache=False)
        observations = observer.take()
    counted = {
        (observation.site.block, projection, criterion): counts.sum(axis=1)
        for observation in observations
        for projection, criterion, counts in observation.by_projection()
    }
    tokens = COUNTED.sum(dim=1).numpy()
    wanted = {
        (site.projection.block, site.projection.name, criterion): site.projection.in_features
        for criterion, row in CRITERIA.items()
        for site in mask_sites(loaded.model, row.reads)
    }
    assert set(counted) == set(wanted)
    for key, features in wanted.items():
        np.testing.assert_array_equal(counted[key], tokens * features)


@pytest.mark.parametrize("mask", WITHOUT_PROMPTS)
@pytest.mark.parametrize("criterion", ["wina", "cats"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_values_of_zero_are_the_dense_model_exactly_and_others_are_not(kind: str, criterion: str, mask: str):
    loaded = random_model(kind)
    dense = _logits(loaded)
    shape = (1, *_shape(loaded, criterion))
    with install(loaded, criterion, torch.zeros(shape), mask) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        assert torch.equal(_logits(loaded), dense)
    assert bool((counts.kept > 0).all())
    with install(loaded, criterion, torch.full(shape, 0.5), mask) as runtime, runtime.rows(GROUPS, COUNTED):
        assert not torch.equal(_logits(loaded), dense)
    assert torch.equal(_logits(loaded), dense)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in loaded.model.modules())


@pytest.mark.parametrize("mask", WITHOUT_PROMPTS)
@pytest.mark.parametrize("kind", CONFIGS)
def test_cats_is_a_gated_mlp_that_reads_only_the_kept_rows_of_up_and_columns_of_down(kind: str, mask: str):
    loaded = random_model(kind)
    values = torch.tensor([[[0.1], [0.25]]], dtype=torch.float64)
    with install(loaded, "cats", values, mask) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        masked = _logits(loaded)
    kept, read = [], []
    for layer, amount in zip(loaded.layers, values.flatten().tolist(), strict=True):
        parts = (*_mlp_weights(layer), attrgetter(loaded.family.activation)(layer).forward, _keep(mask, amount))

        def forward(x, parts=parts):
            output, count, number = cats_mlp(x, *parts, COUNTED)
            kept.append(count)
            read.append(number)
            return output

        layer.mlp.forward = forward
    torch.testing.assert_close(masked, _logits(loaded), rtol=0, atol=FUSED_ROUNDING)
    assert torch.equal(counts.kept, torch.stack(kept, dim=1))
    # What compute counts as used is what the MLPs read, and all weights of attention.
    shape, tokens = shape_of(loaded, "cats"), counts.tokens.numpy()
    work = Work(tokens, tokens, tokens, eligible=tokens, kept=counts.kept.numpy())
    used = ((1 - realised_sparsity(shape, work)) * tokens * shape.weights).sum()
    attention = shape.weights - 2 * 3 * SIZES["hidden_size"] * SIZES["intermediate_size"]
    assert used == pytest.approx(sum(read) + attention * tokens.sum())


def _keep(mask: str, amount: float):
    """Which features of one token's activated gate are kept."""
    if mask == "threshold":
        return lambda activated: activated.abs() > amount
    k = int(SIZES["intermediate_size"] * (1 - amount))
    return lambda activated: activated.abs() >= activated.abs().sort(descending=True).values[k - 1]


def _mlp_weights(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights of gate, up and down."""
    mlp = layer.mlp
    if hasattr(mlp, "gate_up_proj"):
        return (*mlp.gate_up_proj.weight.chunk(2), mlp.down_proj.weight)
    return mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight


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
        masked = _logits(fused)
    torch.testing.assert_close(masked, expected, rtol=0, atol=FUSED_ROUNDING)
    by_site = split_counts.kept.reshape(3, 2, 7)[:, :, [0, 3, 4, 6]]
    assert torch.equal(fused_counts.kept.reshape(3, 2, 4), by_site)
    # The activated gate is one tensor in both, and its mask gates the same weights.
    for mask in WITHOUT_PROMPTS:
        amounts = torch.full((1, 2, 1), 0.4, dtype=torch.float64)
        with install(split, "cats", amounts, mask) as runtime, runtime.rows(GROUPS, COUNTED) as split_counts:
            expected = _logits(split)
        with install(fused, "cats", amounts, mask) as runtime, runtime.rows(GROUPS, COUNTED) as fused_counts:
            masked = _logits(fused)
        torch.testing.assert_close(masked, expected, rtol=0, atol=FUSED_ROUNDING)
        assert torch.equal(fused_counts.kept, split_counts.kept)
    assert shape_of(fused, "cats") == shape_of(split, "cats")
