"""`pipeline.compute.sizes`: sizes read from config.json are those of the model that transformers builds from it."""

from __future__ import annotations

import pytest

from pipeline.compute.sizes import sizes_of
from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.errors import UserError
from wina_amp.models.projections import projections

BIASES_AND_NORMS = 0.05
"""Their fraction of the tiny models' parameters, at most; below 0.1% from a few hundred features on."""


@pytest.mark.parametrize("kind", CONFIGS)
def test_shapes_and_parameters_are_those_of_the_model(kind: str):
    loaded = random_model(kind)
    sizes = sizes_of(loaded.model.config.to_dict())
    assert [(linear.name, linear.site, linear.inputs, linear.outputs) for linear in sizes.block] == [
        (each.name, each.site, each.in_features, each.out_features)
        for each in projections(loaded.model)
        if each.block == 0
    ]
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    assert sizes.parameters == pytest.approx(parameters, rel=BIASES_AND_NORMS)


def test_llama_3_8b_has_eight_billion_parameters():
    sizes = sizes_of(
        {
            "model_type": "llama",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "num_hidden_layers": 32,
            "vocab_size": 128256,
        }
    )
    assert sizes.parameters == 8_029_995_008  # 8,030,261,248 with its norms


def test_an_unknown_family_is_refused():
    with pytest.raises(UserError, match="'mamba'"):
        sizes_of({"model_type": "mamba", "hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1})


SIZES = {
    "model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1,
    "vocab_size": 32,
}  # fmt: skip


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("wrong", [None, "8", 0, -1, 8.5, [8]])
@pytest.mark.parametrize("name", [name for name in SIZES if name != "model_type"])
def test_a_config_without_a_size_is_refused(name: str, wrong: object):
    with pytest.raises(UserError, match=rf"must have its sizes as numbers.* Found: {name}: "):
        sizes_of(SIZES | {name: wrong})


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("family", [None, "gpt2", 3])
def test_a_config_of_an_unknown_family_is_refused_whatever_its_sizes(family: object):
    with pytest.raises(UserError, match="model family"):
        sizes_of({"model_type": family})
