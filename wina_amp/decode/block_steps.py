"""The decoder layers of a model whose decode steps run as compiled code (`block_step.py`), and what that has to know.

A layer must be of a class of transformers that is known to compute what the compiled code does. Others, layers with
another activation, and models that are not float32 on the CPU keep their forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from wina_amp.decode.block_step import NO_NORM, BlockStep, Heads, Norm, Norms
from wina_amp.models.families import Family
from wina_amp.models.load import LoadedModel

_LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer", "Gemma3DecoderLayer")
_IS_GELU = {"SiLU": False, "SiLUActivation": False, "GELUTanh": True}


def block_steps(loaded: LoadedModel) -> list[tuple[nn.Module, BlockStep] | None]:
    """Every layer with its step; None for a layer that keeps its forward."""
    is_usual = loaded.device.type == "cpu" and loaded.model.dtype == torch.float32
    layers: Sequence[Any] = attrgetter(loaded.family.layers)(loaded.model)
    return [_step(layer, loaded.family) if is_usual and _is_known(layer, loaded.family) else None for layer in layers]


def _is_known(layer: nn.Module, family: Family) -> bool:
    kind = type(layer)
    activation = type(attrgetter(family.activation)(layer)).__name__
    return kind.__module__.startswith("transformers.") and kind.__name__ in _LAYERS and activation in _IS_GELU


def _step(layer: Any, family: Family) -> tuple[nn.Module, BlockStep]:
    attention = layer.self_attn
    features = attention.head_dim
    heads = Heads(
        attention.q_proj.out_features // features,
        attention.k_proj.out_features // features,
        features,
        attention.scaling,
    )

    def norm(holder: Any, name: str | None) -> Norm:
        module = None if name is None else getattr(holder, name, None)
        if module is None:
            return NO_NORM
        epsilon = module.variance_epsilon if hasattr(module, "variance_epsilon") else module.eps
        return Norm(module.weight.detach().numpy(), float(family.norm_offset), epsilon)

    names = (family.attention_norm, family.mlp_norm, family.attention_output_norm, family.mlp_output_norm)
    norms = Norms(*(norm(layer, name) for name in names), norm(attention, "q_norm"), norm(attention, "k_norm"))
    is_gelu = _IS_GELU[type(attrgetter(family.activation)(layer)).__name__]
    parts = [module for module in layer.modules() if module is not layer]
    return layer, BlockStep(attention.layer_idx, heads, norms, is_gelu, parts)
