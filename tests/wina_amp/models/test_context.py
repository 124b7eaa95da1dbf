"""`wina_amp.models.context`: the longest sequence, from the config alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, MistralConfig

from tests.wina_amp.allocation.blocks import CHANGING_ROPE, CONFIGS, ROPE_CHANGES_AT, random_model
from wina_amp.errors import UserError
from wina_amp.models.context import context_of, load_context, rope_change


def test_the_context_is_read_from_a_checkpoint_without_its_weights(tiny_llama: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text((tiny_llama / "config.json").read_text())
    assert load_context(str(tmp_path), revision=None) == 128


def test_a_sliding_window_is_the_limit_where_it_is_shorter():
    assert context_of(MistralConfig(max_position_embeddings=512, sliding_window=64)) == 64
    assert context_of(MistralConfig(max_position_embeddings=512, sliding_window=None)) == 512
    assert context_of(LlamaConfig(max_position_embeddings=256)) == 256


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize("kind", CHANGING_ROPE)
def test_a_context_ends_where_the_longest_sequence_would_change_the_rotary_embeddings_of_the_others(kind: str):
    model = random_model(kind).model
    assert context_of(model.config) == rope_change(model.config)[1] == ROPE_CHANGES_AT
    ids = torch.randint(3, 64, (2, ROPE_CHANGES_AT + 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        alone = model(ids[:1, :5]).logits
        within, beyond = (model(ids[:, :width]).logits[:1, :5] for width in (ROPE_CHANGES_AT, ROPE_CHANGES_AT + 8))
    assert (within - alone).abs().max() < 1e-4 < 0.01 < (beyond - alone).abs().max()


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_rotary_embeddings_of_most_models_are_the_same_at_all_lengths(kind: str):
    assert rope_change(random_model(kind).model.config) == (None, None)


def test_the_parameters_of_each_type_of_layer_are_looked_at():
    config = random_model("gemma3_text").model.config
    config.rope_parameters = {**config.rope_parameters, "full_attention": {"rope_type": "dynamic", "factor": 2.0}}
    assert rope_change(config) == ("dynamic", 128)


def test_a_missing_config_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"readable config\.json.*dvc pull"):
        load_context(str(tmp_path), revision=None)
