"""Load a Hugging Face checkpoint, from a folder or from the hub, ready to be observed or run sparse.

The weights are loaded IN the requested dtype. Casting a model afterwards (`.half()`, `.bfloat16()`) also casts RoPE's
`inv_freq` buffer and corrupts it (measured: dense perplexity 90 -> 145). Only safetensors are read: pickles can run
code. The folder is checked before transformers sees it (`wina_amp/models/integrity.py`). Nothing here needs a padding
token: rows are padded with any id, and lengths say what counts.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from wina_amp.errors import UserError, unknown
from wina_amp.models.advice import FETCH, LFS, first_line, folder_error, is_pointer
from wina_amp.models.context import context_of, load_config
from wina_amp.models.families import Family, family_of
from wina_amp.models.integrity import check_folder, code_error
from wina_amp.models.loaded_weights import check_finite, check_report
from wina_amp.models.placement import choose_device, place
from wina_amp.models.source import model_folder
from wina_amp.names import DTYPES, SPREAD

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_TOKENIZER = f"copy the tokenizer's files (tokenizer.json, tokenizer_config.json) of the same model into it; {FETCH}"


@dataclass(frozen=True)
class LoadedModel:
    """A causal LM in eval mode without gradients, with its tokenizer, device and family.

    Attributes:
        model: the whole causal LM, `lm_head` included.
        tokenizer: its tokenizer.
        device: the device of token ids and weights; a model that is spread has blocks on other GPUs too.
        family: the row of `families.FAMILIES` it belongs to.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    family: Family

    @property
    def decoder(self) -> nn.Module:
        """The model without `lm_head`: token ids to final hidden states."""
        return self.model.base_model

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, one a block."""
        return attrgetter(self.family.layers)(self.model)

    @property
    def context(self) -> int:
        """The largest number of tokens a sequence may have."""
        return context_of(self.model.config)


def load(path: str | Path, *, revision: str | None, dtype: str, device: str, remote_code: bool = False) -> LoadedModel:
    """Load a checkpoint for inference.

    Args:
        path: a folder, or a hub id (`organisation/name`), which then needs a revision.
        revision: commit (or tag) of the hub repository; None for a folder.
        dtype: one of `names.DTYPES`; weights are loaded in it, never cast to it afterwards.
        device: one of `placement.DEVICES`.
        remote_code: whether Python code that the checkpoint brings along may be run.

    Guarantee: eval mode, no parameter requires a gradient, attention is `sdpa`, every weight came from a file and is
    finite, every weight of the files is in the model.

    Raises:
        UserError: unknown dtype or device; hub id without revision; a folder that is refused (`check_folder`); no
            tokenizer; weights of another model, NaN or infinite; GPUs that are missing or too small.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES, "`model.dtype`")
    choose_device(device)
    folder = model_folder(path, revision, remote_code=remote_code)
    check_folder(folder, remote_code=remote_code)
    tokenizer = load_tokenizer(folder, revision=None, remote_code=remote_code)
    family, model = _load_model(folder, getattr(torch, dtype), device, remote_code)
    model.requires_grad_(False)
    model.eval()
    placed = place(model, device)
    check_finite(model, str(folder))
    return LoadedModel(model, tokenizer, placed, family)


def load_tokenizer(path: str | Path, *, revision: str | None, remote_code: bool = False) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint alone, for stages that need no weights.

    Raises:
        UserError: the tokenizer is missing or unreadable, or config.json is.
    """
    folder = model_folder(path, revision, remote_code=remote_code)
    _need_special_tokens(folder)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise folder_error("have a tokenizer", f"none of {', '.join(_TOKENIZER_FILES)}", folder, _TOKENIZER)
    if not remote_code:
        _refuse_code(folder)
    load_config(folder, revision=None, remote_code=remote_code)  # which reads it, too
    try:
        tokenizer = cast(
            PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(str(folder), trust_remote_code=remote_code)
        )
    except Exception as error:
        pointer = next((name for name in _TOKENIZER_FILES if is_pointer(folder / name)), None)
        found = first_line(error) if pointer is None else f"a Git LFS pointer in the place of {pointer}"
        remedy = FETCH if pointer is None else LFS
        raise UserError(
            "The tokenizer of the model must be readable", found=found, where=str(path), remedy=remedy
        ) from error
    return tokenizer


def _need_special_tokens(folder: Path) -> None:
    """Refuse a tokenizer without its configuration: it would be read, and not know its end of text."""
    file = folder / "tokenizer_config.json"
    if not file.is_file() and any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise UserError(
            "A tokenizer must have a tokenizer_config.json, which names its special tokens",
            found="no such file",
            where=str(file),
            remedy="copy it from where the checkpoint comes from (`tokenizer.save_pretrained` writes it)",
        )


def _refuse_code(folder: Path) -> None:
    """Refuse a tokenizer that brings its own code: transformers would ask on the terminal, and wait."""
    file = folder / "tokenizer_config.json"
    try:
        named = json.loads(file.read_text(encoding="utf-8")).get("auto_map", {}) if file.is_file() else {}
    except (ValueError, AttributeError):
        return  # damaged: reading the tokenizer says so
    if "AutoTokenizer" in named:
        raise code_error(f"`auto_map: {named['AutoTokenizer']}`", file)


def _load_model(folder: Path, dtype: torch.dtype, device: str, remote_code: bool) -> tuple[Family, PreTrainedModel]:
    path = str(folder)
    try:
        from_config = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below, with names
            trust_remote_code=remote_code,
            device_map="auto" if device == SPREAD else None,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise UserError(
            "The model must be readable as a causal LM with safetensors weights",
            found=first_line(error),
            where=path,
            remedy=FETCH,
        ) from error
    model, report = cast(tuple[PreTrainedModel, dict[str, Any]], from_config)
    check_report(report, path)
    return family_of(model.config.model_type, f"config.json of {path}"), model
