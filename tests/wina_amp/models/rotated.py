"""Models of every family that tell right transforms from wrong ones: uneven norms and biases, also in bfloat16."""

from __future__ import annotations

from dataclasses import replace

import torch
from transformers import AutoModelForCausalLM

from tests.wina_amp.allocation.blocks import CONFIGS, SIZES, random_model
from wina_amp.models.load import LoadedModel
from wina_amp.models.transform import block_bases, rotate_block

BLOCKS = SIZES["num_hidden_layers"]


def uneven_model(kind: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """`random_model` with random norm weights and biases; the same model in every dtype: bfloat16 holds its weights."""
    loaded = random_model(kind)
    generator = torch.Generator().manual_seed(1)
    for parameter in loaded.model.parameters():
        if parameter.ndim == 1:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
        parameter.copy_(parameter.bfloat16())
    if dtype == torch.float32:
        return loaded
    model = AutoModelForCausalLM.from_config(CONFIGS[kind](), attn_implementation="sdpa", dtype=dtype)
    model.load_state_dict(loaded.model.state_dict())
    return replace(loaded, model=model.eval().requires_grad_(False))


def rotated_model(kind: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """`uneven_model` after the transform."""
    loaded = uneven_model(kind, dtype)
    for block in range(BLOCKS):
        rotate_block(loaded, block, block_bases(loaded, block))
    return loaded
