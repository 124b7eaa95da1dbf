"""Tiny random models of every kind of block, their score histograms, and calibration text."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from wina_amp.histograms.bins import Bins
from wina_amp.models.families import family_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights, scores
from wina_amp.tokens.samples import TokenizedSample

BINS = Bins(4)
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SIZES, attention_bias=True),
    "mistral": lambda: MistralConfig(**SIZES, sliding_window=8),
    "qwen2": lambda: Qwen2Config(**SIZES),
    "qwen3": lambda: Qwen3Config(**SIZES, head_dim=8),
    "phi3": lambda: Phi3Config(**SIZES),
    "gemma3_text": lambda: Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=64),
    "olmo2": lambda: Olmo2Config(**SIZES),
}


ROPE_CHANGES_AT = 16
"""Tokens up to which rotary embeddings of the models below are as for short sequences."""

CHANGING_ROPE = {
    "phi3 with longrope": lambda: Phi3Config(
        **SIZES,
        original_max_position_embeddings=ROPE_CHANGES_AT,
        rope_scaling={"type": "longrope", "short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 5.0, 7.0]},
    ),
    "llama with dynamic rope": lambda: LlamaConfig(
        **SIZES | {"max_position_embeddings": ROPE_CHANGES_AT}, rope_scaling={"type": "dynamic", "factor": 4.0}
    ),
}
"""Models in which the longest sequence of a batch decides on the rotary embeddings of all."""


def random_model(kind: str) -> LoadedModel:
    """A random model of the family, or of `CHANGING_ROPE`; weights wide enough for masks to matter."""
    torch.manual_seed(0)
    config = (CONFIGS | CHANGING_ROPE)[kind]()
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)
    return LoadedModel(model, None, torch.device("cpu"), family_of(config.model_type))


def texts(number: int = 12) -> list[TokenizedSample]:
    """Sequences of 5 to 30 random tokens."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 30, number)
    return [
        TokenizedSample(f"t/train/{i}", rng.integers(3, 64, n).tolist(), rng.integers(3, 64, 2).tolist())
        for i, n in enumerate(lengths)
    ]


def score_counts(loaded: LoadedModel, criterion: str) -> dict[tuple[int, str], np.ndarray]:
    """Score histograms of every projection over `texts()`."""
    counts: dict[tuple[int, str], np.ndarray] = {}
    handles = []
    for projection in projections(loaded.model):
        weights = feature_weights(criterion, projection.module.weight, projection.name)

        def hook(_module, args, key=(projection.block, projection.name), weights=weights):
            counts[key] = counts.get(key, 0) + BINS.histogram(scores(args[0], weights).numpy())

        handles.append(projection.module.register_forward_pre_hook(hook))
    with torch.no_grad():
        for text in texts():
            loaded.decoder(input_ids=torch.tensor([text.ids]))
    for handle in handles:
        handle.remove()
    return counts
