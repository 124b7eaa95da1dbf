"""`wina_amp.models.context`: the longest sequence, from the config alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaConfig, MistralConfig

from wina_amp.errors import UserError
from wina_amp.models.context import context_of, load_context


def test_the_context_is_read_from_a_checkpoint_without_its_weights(tiny_llama: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text((tiny_llama / "config.json").read_text())
    assert load_context(str(tmp_path), revision=None) == 128


def test_a_sliding_window_is_the_limit_where_it_is_shorter():
    assert context_of(MistralConfig(max_position_embeddings=512, sliding_window=64)) == 64
    assert context_of(MistralConfig(max_position_embeddings=512, sliding_window=None)) == 512
    assert context_of(LlamaConfig(max_position_embeddings=256)) == 256


def test_a_missing_config_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"readable config\.json.*dvc pull"):
        load_context(str(tmp_path), revision=None)
