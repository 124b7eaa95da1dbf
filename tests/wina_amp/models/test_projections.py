"""`wina_amp.models.projections`: every family's real modules, their order, and which of them share an activation."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from wina_amp.errors import UserError
from wina_amp.models.families import FAMILIES
from wina_amp.models.projections import projections, sites

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def _model(model_type):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **SIZES)).eval()


@pytest.mark.parametrize("model_type", FAMILIES)
def test_the_projections_of_a_family_are_all_linear_maps_of_its_blocks(model_type):
    model = _model(model_type)
    listed = projections(model)
    linear = [module for module in model.base_model.modules() if isinstance(module, nn.Linear)]
    assert {id(projection.module) for projection in listed} == {id(module) for module in linear}
    assert [projection.block for projection in listed] == sorted(projection.block for projection in listed)
    assert sum(p.gated_weights for p in listed) == sum(module.weight.numel() for module in linear)


@pytest.mark.parametrize("model_type", FAMILIES)
def test_projections_of_a_site_read_the_same_tensor(model_type):
    model = _model(model_type)
    seen = {}
    for projection in projections(model):
        key = (projection.block, projection.name)
        projection.module.register_forward_pre_hook(lambda _, args, key=key: seen.__setitem__(key, args[0]))
    with torch.no_grad():
        model(torch.arange(10)[None])
    for site in sites(projections(model)):
        first, *rest = [seen[site.block, projection.name] for projection in site.projections]
        assert first.shape[-1] == site.features
        assert all(torch.equal(other, first) for other in rest)


def test_blocks_list_their_projections_in_canonical_order_and_sites_group_them():
    listed = projections(_model("llama"))
    assert [(p.block, p.name) for p in listed] == [
        (block, name) for block in (0, 1) for name in ("q", "k", "v", "o", "gate", "up", "down")
    ]
    grouped = [(site.block, site.name, "".join(p.name[0] for p in site.projections)) for site in sites(listed)]
    one_block = [("qkv", "qkv"), ("o", "o"), ("gate_up", "gu"), ("down", "d")]
    assert grouped == [(block, *rest) for block in (0, 1) for rest in one_block]


def test_fused_weights_are_one_projection_with_named_slices():
    listed = projections(_model("phi3"))
    assert [(p.name, p.slices) for p in listed[:4]] == [
        ("qkv", ("q", "k", "v")),
        ("o", ()),
        ("gate_up", ("gate", "up")),
        ("down", ()),
    ]


def test_a_layer_that_is_no_linear_map_is_refused_with_its_place():
    model = _model("llama")
    model.model.layers[1].mlp.up_proj = nn.Identity()
    with pytest.raises(UserError, match=r"Projection up .*mlp\.up_proj.*Identity.*block 1"):
        projections(model)
