"""`wina-amp import-gguf`: a GGUF file of llama.cpp as a checkpoint folder (float32, safetensors) for every tool.

transformers' own reader dequantises it, so the logits are those of `from_pretrained(folder, gguf_file=...)`. That
reader passes over what it does not know: scaled rotary embeddings, biases, sliding windows, ways to split text. The
model would answer, and differently. Hence everything in the file must be in the checkpoint, and what is not is named
and refused; nothing is repaired here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel

from wina_amp.atomic import refuse_full, replacing
from wina_amp.errors import UserError, unknown
from wina_amp.models.advice import first_line
from wina_amp.models.integrity import check_folder

ARCHITECTURES = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3", "gemma3": "gemma3_text"}
"""`general.architecture` of a GGUF file -> family. Mistral's files are of `llama`; OLMo 2 has no reader."""

PRE_TOKENIZERS = ("llama3", "llama-v3", "llama-bpe", "smaug-bpe", "tekken", "qwen2", "deepseek-r1-qwen", "gpt-2")
"""Ways to split text before byte-level merges that the reader builds; with any other it would take GPT-2's."""

_WITH_BOS = ("llama3", "llama-v3", "llama-bpe")
"""Their prompts begin with BOS, in llama.cpp as in transformers, also where the file does not say so."""

_SAME = {
    "context_length": "max_position_embeddings",
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
}
"""Metadata of every file -> what it must be in the config."""

_SAME_IF_THERE = {
    "vocab_size": "vocab_size",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "rope.dimension_count": "head_dim",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_theta_of_windows",
    "attention.sliding_window": "sliding_window",
    "attention.causal": "is_causal",
}
_SAYS_NOTHING = (None, 0, False, "", "none")
"""Values of other metadata that are as good as none."""

_SHARD = "4GB"
_ELSEWHERE = "take the checkpoint that the file was made from, in safetensors"


def import_gguf(file: Path, folder: Path) -> dict[str, Any]:
    """Write the checkpoint, atomically, and say what it is.

    Guarantee: every tensor and every property of the model that the file holds is in the checkpoint, which has its
        tokenizer and chat template, `lm_head` tied or separate as stored, and passes `check_folder`.

    Raises:
        UserError: no `gguf` package; no readable GGUF file; a folder with something in it; an architecture, tensor,
            property or tokenizer that the checkpoint would lack.
    """
    _need_packages()
    refuse_full(folder)
    metadata, tensors = _contents(file)
    architecture = str(metadata["general.architecture"])
    _check_file(metadata, architecture, file)
    model = _model(file)
    config = model.config
    _check_config(metadata, architecture, config, file)
    _check_tensors(tensors, architecture, model, file)
    _set_ends(metadata, model)
    with replacing(folder) as temporary:
        temporary.mkdir()
        model.save_pretrained(temporary, max_shard_size=_SHARD)
        _save_tokenizer(metadata, file, temporary)
        check_folder(temporary)
    return {
        "folder": str(folder),
        "family": config.model_type,
        "blocks": config.num_hidden_layers,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "lm_head": "tied" if config.tie_word_embeddings else "separate",
    }


def _need_packages() -> None:
    missing = [name for name in ("gguf", "accelerate") if find_spec(name) is None]
    if missing:
        must = "GGUF files need the packages `gguf` and `accelerate`"
        raise UserError(must, f"no {' and no '.join(missing)}", "this environment", "`pip install wina-amp[gguf]`")


def _contents(file: Path) -> tuple[dict[str, Any], list[str]]:
    """The metadata, and the names of the tensors."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        metadata = {name: field.contents() for name, field in reader.fields.items()}
        if "general.architecture" not in metadata:
            raise ValueError("no `general.architecture` in its metadata")
    except (OSError, ValueError, IndexError, KeyError) as error:
        must, found = "The file must be a whole GGUF file", f"{type(error).__name__}: {first_line(error)}"
        raise UserError(must, found, file, "name another file, or copy it again") from error
    return metadata, [tensor.name for tensor in reader.tensors]


def _check_file(metadata: Mapping[str, Any], architecture: str, file: Path) -> None:
    if architecture not in ARCHITECTURES:
        raise unknown("architecture of the GGUF file", architecture, ARCHITECTURES, str(file))
    if metadata.get("general.type", "model") != "model":
        must, found = "The GGUF file must hold a whole model", f"`general.type: {metadata['general.type']}`"
        raise UserError(must, found, file, "name the file of the model itself")
    if metadata.get("split.count", 1) > 1:
        remedy = "join them first (`llama-gguf-split --merge` of llama.cpp)"
        raise UserError("The model must be in one file", f"one of {metadata['split.count']} parts", file, remedy)
    missing = [name for name in _SAME if f"{architecture}.{name}" not in metadata]
    if missing:
        raise UserError("The GGUF file must describe its model", f"no {', '.join(missing)}", file, _ELSEWHERE)
    _check_tokenizer(metadata, file)


def _check_tokenizer(metadata: Mapping[str, Any], file: Path) -> None:
    kind, split = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind == "gpt2":
        if split not in PRE_TOKENIZERS:
            raise unknown("way to split text (`tokenizer.ggml.pre`)", split, PRE_TOKENIZERS, str(file))
    elif kind != "llama":
        raise unknown("tokenizer (`tokenizer.ggml.model`)", kind, ("gpt2", "llama"), str(file))
    elif metadata["general.architecture"] != "gemma3" and metadata.get("tokenizer.ggml.add_space_prefix") is False:
        must = "The tokenizer must put a space in front of a prompt, as that of transformers' reader does"
        raise UserError(must, "`tokenizer.ggml.add_space_prefix: false`", file, _ELSEWHERE)


def _model(file: Path) -> PreTrainedModel:
    """The model that transformers reads, without a trace of quantisation."""
    try:
        model, report = cast(
            tuple[PreTrainedModel, dict[str, Any]],
            AutoModelForCausalLM.from_pretrained(
                str(file.absolute().parent),
                gguf_file=file.name,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with names
            ),
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        must = "The GGUF file must be readable by transformers"
        raise UserError(must, f"{type(error).__name__}: {first_line(error)}", file, _ELSEWHERE) from error
    wrong = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if wrong:
        must = "Every weight of the model must be in the file, in the shape that transformers reads from its metadata"
        raise UserError(must, f"not so for {_some(wrong)}", file, _ELSEWHERE)
    for owner, name in ((model, "hf_quantizer"), (model.config, "quantization_config")):
        if hasattr(owner, name):
            delattr(owner, name)
    return model


def _check_config(metadata: Mapping[str, Any], architecture: str, config: PreTrainedConfig, file: Path) -> None:
    """Refuse properties of the model that transformers did not take over."""
    prefix = f"{architecture}."
    said = {name.removeprefix(prefix): value for name, value in metadata.items() if name.startswith(prefix)}
    said.setdefault("attention.sliding_window", None)
    known = _SAME | _SAME_IF_THERE
    for name, value in said.items():
        here = _of_config(config, known[name]) if name in known else None
        is_same = here == value or (isinstance(value, float) and here is not None and math.isclose(value, here))
        if not is_same and not (name not in known and value in _SAYS_NOTHING):
            must = "Every property of the model must be one that transformers reads from a GGUF file"
            text = f"`{prefix}{name}: {value}`, read as {'nothing' if name not in known else here}"
            raise UserError(must, text, file, _ELSEWHERE)


def _of_config(config: PreTrainedConfig, name: str) -> Any:
    if name.startswith("rope_theta"):
        of_layers = "full_attention" if name == "rope_theta" else "sliding_attention"
        return config.rope_parameters.get(of_layers, config.rope_parameters).get("rope_theta")
    if name == "head_dim":
        return getattr(config, name, None) or config.hidden_size // config.num_attention_heads
    return True if name == "is_causal" else getattr(config, name, None)


def _check_tensors(tensors: list[str], architecture: str, model: PreTrainedModel, file: Path) -> None:
    """Refuse tensors that the model has no place for, by llama.cpp's names for those of the model."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    (number,) = (number for number, name in MODEL_ARCH_NAMES.items() if name == architecture)
    names = get_tensor_name_map(number, model.config.num_hidden_layers)
    used = {names.get_name(name, try_suffixes=(".weight", ".bias")) for name in model.state_dict()}
    unused = sorted(set(tensors) - used)
    if unused:
        must = "Every tensor of the file must be one that transformers reads from a GGUF file"
        raise UserError(must, _some(unused), file, _ELSEWHERE)


def _set_ends(metadata: Mapping[str, Any], model: PreTrainedModel) -> None:
    """Begin, end and padding as the file has them; an answer ends at the end of a turn, too."""
    ids = {name: metadata.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "padding", "eot", "eom")}
    ends = list(dict.fromkeys(ids[name] for name in ("eos", "eot", "eom") if ids[name] is not None))
    model.config.bos_token_id, model.config.eos_token_id = ids["bos"], ids["eos"]
    model.config.pad_token_id = ids["padding"]
    generation = model.generation_config
    generation.bos_token_id, generation.pad_token_id = ids["bos"], ids["padding"]
    generation.eos_token_id = ends[0] if len(ends) == 1 else ends or None


def _save_tokenizer(metadata: Mapping[str, Any], file: Path, folder: Path) -> None:
    """Save the tokenizer with its chat template."""
    is_unsaid = metadata.get("tokenizer.ggml.add_bos_token") is None
    begins = is_unsaid and metadata.get("tokenizer.ggml.pre") in _WITH_BOS
    options = {"add_bos_token": True} if begins else {}
    must = "The tokenizer of the GGUF file must be one that transformers can build"
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(file.absolute().parent), gguf_file=file.name, **options)
    except Exception as error:
        raise UserError(must, f"{type(error).__name__}: {first_line(error)}", file, _ELSEWHERE) from error
    tokenizer.save_pretrained(folder)


def _some(names: Any) -> str:
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
