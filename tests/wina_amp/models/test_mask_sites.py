"""`wina_amp.models.mask_sites`: the mask sites of every family, the weights that they gate, and taps."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.errors import UserError
from wina_amp.models.families import ACTIVATED_GATE, INPUT
from wina_amp.models.mask_sites import Tap, mask_sites, maskable_fraction
from wina_amp.models.projections import projections


@pytest.mark.parametrize("kind", CONFIGS)
def test_masks_of_inputs_are_the_projections_and_gate_every_weight_once(kind: str):
    model = random_model(kind).model
    every, masks = projections(model), mask_sites(model, INPUT)
    assert [site.projection for site in masks] == every
    assert [site.gated_weights for site in masks] == [projection.gated_weights for projection in every]
    assert all(site.tap == Tap(site.projection.module) for site in masks)
    assert maskable_fraction(masks, every) == 1.0


@pytest.mark.parametrize("kind", CONFIGS)
def test_masks_of_activated_gates_are_one_a_block_and_gate_up_and_down(kind: str):
    model = random_model(kind).model
    every, masks = projections(model), mask_sites(model, ACTIVATED_GATE)
    assert [(site.projection.block, site.projection.name) for site in masks] == [(0, "down"), (1, "down")]
    # hidden 32, intermediate 48: a row of up and a column of down have 32 weights each, fused or not.
    assert [site.gated for site in masks] == [64, 64]
    assert maskable_fraction(masks, every) == 2 * 2 * 32 * 48 / sum(each.module.weight.numel() for each in every)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_tapped_activation_is_a_factor_of_what_down_reads_in_its_own_block_only(kind: str):
    loaded = random_model(kind)
    masks = mask_sites(loaded.model, ACTIVATED_GATE)
    assert len({id(site.tap.module) for site in masks}) == len(masks)
    read: list[torch.Tensor] = []
    handles = [Tap(site.projection.module).register(read.append) for site in masks]
    handles.append(masks[1].tap.register(torch.zeros_like))
    loaded.model(torch.arange(3, 9)[None])
    for handle in handles:
        handle.remove()
    assert read[0].any() and not read[1].any()
    assert read[0].shape == (1, 6, masks[0].projection.in_features)


@pytest.mark.parametrize("is_output", [False, True])
def test_a_tap_sees_a_tensor_replaces_it_if_asked_to_and_can_be_removed(is_output: bool):
    module = nn.Linear(3, 3).requires_grad_(False)
    x, seen = torch.randn(2, 3), []
    plain = module(x)
    handle = Tap(module, is_output).register(seen.append)
    assert torch.equal(module(x), plain) and torch.equal(seen[0], plain if is_output else x)
    handle.remove()
    handle = Tap(module, is_output).register(lambda tensor: 2 * tensor)
    assert torch.equal(module(x), 2 * plain if is_output else module.forward(2 * x))
    handle.remove()
    assert torch.equal(module(x), plain)


def test_an_activation_that_is_no_module_is_refused_with_its_block():
    model = random_model("llama").model
    del model.model.layers[1].mlp.act_fn
    with pytest.raises(UserError, match=r"module at `mlp\.act_fn`.*nothing.*block 1 .*`activation` in .*families"):
        mask_sites(model, ACTIVATED_GATE)
    assert len(mask_sites(model, INPUT)) == 14
