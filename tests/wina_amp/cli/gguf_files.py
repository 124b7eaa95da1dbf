"""Tiny random models as GGUF files, written with the package `gguf` in the way of llama.cpp's converter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    Phi3Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

TOKENS = ["<bos>", "<eos>", "<turn>", "<pad>", *bytes_to_unicode().values(), "th", "Ġth"]
MERGES = ["t h", "Ġ th"]
BYTES = {"model": "gpt2", "pre": "llama-bpe", "tokens": TOKENS, "merges": MERGES}
PIECES = ["<unk>", "<bos>", "<eos>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "▁a", "▁ab"]
SENTENCES = {"model": "llama", "tokens": PIECES, "scores": [0.0] * (len(PIECES) - 2) + [-1.0, -2.0]}
TEMPLATE = "{% for message in messages %}{{ message['content'] }}<turn>{% endfor %}"

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SIZES, vocab_size=len(TOKENS), tie_word_embeddings=False),
    "qwen2": lambda: Qwen2Config(**SIZES, vocab_size=len(TOKENS), tie_word_embeddings=True),
    "qwen3": lambda: Qwen3Config(**SIZES, vocab_size=len(TOKENS), head_dim=128, tie_word_embeddings=False),
    "phi3": lambda: Phi3Config(**SIZES, vocab_size=len(PIECES), pad_token_id=3),
    "gemma3": lambda: Gemma3TextConfig(**SIZES, vocab_size=len(PIECES), head_dim=8, sliding_window=8),
}


def model(architecture: str) -> PreTrainedModel:
    """A random model whose norms and biases matter."""
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(CONFIGS[architecture]()).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 1:
                weight += 0.3 * torch.randn_like(weight)
    return made


def write(
    file: Path,
    architecture: str,
    made: PreTrainedModel,
    *,
    metadata: Mapping[str, Any] = {},
    tensors: Mapping[str, torch.Tensor | None] = {},
    quantise: bool = False,
) -> Path:
    """Write the file.

    Args:
        file: its name.
        architecture: `general.architecture`.
        made: the model.
        metadata: whole names -> values, in place of those of the model; None takes one out.
        tensors: the same for tensors.
        quantise: matrices as Q8_0.
    """
    values = _metadata(architecture, made) | metadata
    held = _tensors(architecture, made) | tensors
    writer = gguf.GGUFWriter(file, str(values.pop("general.architecture", architecture)))
    for name, value in values.items():
        if value is not None:
            _add(writer, name, value)
    for name, tensor in held.items():
        if tensor is None:
            continue
        array = np.ascontiguousarray(tensor.detach().numpy())
        if quantise and array.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _metadata(architecture: str, made: PreTrainedModel) -> dict[str, Any]:
    config = made.config
    is_gemma = architecture == "gemma3"
    of_model = {
        "context_length": config.max_position_embeddings,
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": 1e6 if is_gemma else 1e4,
    }
    if architecture in ("qwen3", "gemma3"):
        of_model |= {"attention.key_length": config.head_dim, "attention.value_length": config.head_dim}
    if is_gemma:
        of_model["attention.sliding_window"] = config.sliding_window
    tokenizer: dict[str, Any] = dict(SENTENCES if is_gemma or architecture == "phi3" else BYTES)
    bos = 1 if tokenizer["model"] == "llama" else 0
    types = [3] * 4 + [1] * (len(tokenizer["tokens"]) - 4)
    tokenizer |= {"token_type": types, "bos_token_id": bos, "eos_token_id": bos + 1, "padding_token_id": 3}
    return {
        **{f"{architecture}.{name}": value for name, value in of_model.items()},
        **{f"tokenizer.ggml.{name}": value for name, value in tokenizer.items()},
        "tokenizer.chat_template": TEMPLATE,
    }


def _tensors(architecture: str, made: PreTrainedModel) -> dict[str, torch.Tensor | None]:
    config = made.config
    (number,) = (number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    tensors: dict[str, torch.Tensor | None] = {}
    for name, tensor in made.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "llama" and "q_proj" in name:
            tensor = _interleaved(tensor, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            tensor = _interleaved(tensor, config.num_key_value_heads)
        if architecture == "gemma3" and "norm" in name:
            tensor = tensor + 1
        tensors[names.get_name(name, try_suffixes=(".weight", ".bias"))] = tensor
    return tensors


def _interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in llama.cpp's order: the two halves of a head alternate."""
    return weight.reshape(heads, 2, -1, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        writer.add_uint32(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, value)
