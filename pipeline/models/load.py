"""Load a Hugging Face checkpoint, from a folder or from the hub, ready to be observed or run sparse.

The weights are loaded IN the requested dtype. Casting a model afterwards (`.half()`, `.bfloat16()`) also casts RoPE's
`inv_freq` buffer and corrupts it (measured: dense perplexity 90 -> 145). Only safetensors are read: pickles can run
code. A folder is checked before transformers sees it, because transformers gives missing tensors random values.

Nothing here spreads a model over several devices.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from pipeline.errors import UserError, unknown
from pipeline.models.context import context_of
from pipeline.models.families import Family, family_of, refuse_experts
from pipeline.models.source import model_folder

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICES = ("auto", "cpu", "cuda")

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")
_FETCH = "run `dvc pull` or `git checkout` to restore the folder, or correct `model.path` in params.yaml"


@dataclass(frozen=True)
class LoadedModel:
    """A causal LM in eval mode without gradients, its tokenizer, and what is known about it.

    Attributes:
        model: the whole causal LM, `lm_head` included.
        tokenizer: its tokenizer.
        device: where the weights are.
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
    def context(self) -> int:
        """The largest number of tokens a sequence may have."""
        return context_of(self.model.config)


def load(path: str | Path, *, revision: str | None, dtype: str, device: str) -> LoadedModel:
    """Load a checkpoint for inference.

    Args:
        path: a folder, or a hub id (`organisation/name`), which then needs a revision.
        revision: commit (or tag) of the hub repository; None for a folder.
        dtype: one of `DTYPES`; weights are loaded in it, never cast to it afterwards.
        device: `cpu`, `cuda`, or `auto` (the GPU if there is one).

    Guarantee: eval mode, no parameter requires a gradient, attention is `sdpa`, every weight came from a file.

    Raises:
        UserError: unknown family, dtype or device; hub id without revision; folder, config, weights or tokenizer
            missing; a safetensors file damaged or without some of the model's weights.
    """
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, DTYPES, "`model.dtype`")
    place = choose_device(device)
    folder = model_folder(path, revision)
    _check_folder(folder)
    family, model = _load_model(folder, DTYPES[dtype])
    model.requires_grad_(False)
    model.eval()
    cast(nn.Module, model).to(place)
    return LoadedModel(model, load_tokenizer(folder, revision=None), place, family)


def load_tokenizer(path: str | Path, *, revision: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint alone, for stages that need no weights.

    Raises:
        UserError: the tokenizer is missing or unreadable.
    """
    folder = model_folder(path, revision)
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise _folder_error("have a tokenizer", f"none of {', '.join(_TOKENIZER_FILES)}", folder)
    try:
        tokenizer = cast(PreTrainedTokenizerBase, AutoTokenizer.from_pretrained(str(folder)))
    except Exception as error:
        raise UserError(
            "The tokenizer of the model must be readable", found=_first_line(error), where=str(path), remedy=_FETCH
        ) from error
    _check_vocabulary(tokenizer, folder)
    return tokenizer


def choose_device(device: str) -> torch.device:
    """`auto` is the GPU if there is one, else the CPU; `cuda` without a GPU is a UserError."""
    if device not in DEVICES:
        raise unknown("device", device, DEVICES, "`model.device`")
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise UserError(
            "`model.device: cuda` needs a GPU that PyTorch can use",
            found=f"none (torch {torch.__version__})",
            where="params.yaml",
            remedy="set `model.device: auto`, or install a CUDA build of PyTorch",
        )
    return torch.device("cuda" if device == "cuda" or (device == "auto" and has_gpu) else "cpu")


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """A tokenizer of another model would index past the embeddings, or mean other words by the same numbers."""
    largest = max(tokenizer.get_vocab().values(), default=-1)
    size = _config(folder).get("vocab_size")
    if isinstance(size, int) and largest >= size:
        raise _folder_error(
            "have the tokenizer its embeddings were made for",
            f"a token with the number {largest}, and {size} embeddings (`vocab_size`)",
            folder,
        )


def _load_model(folder: Path, dtype: torch.dtype) -> tuple[Family, PreTrainedModel]:
    path = str(folder)
    try:
        from_config = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise UserError(
            "The model must be readable as a causal LM with safetensors weights",
            found=_first_line(error),
            where=path,
            remedy=_FETCH,
        ) from error
    model, info = cast(tuple[PreTrainedModel, dict[str, Any]], from_config)
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise UserError(
            "The weight files must hold every weight of the model",
            found=f"{len(missing)} missing, for example {missing[0]}",
            where=path,
            remedy=_FETCH,
        )
    return family_of(model.config.model_type, f"config.json of {path}"), model


def _check_folder(folder: Path) -> None:
    config = _config(folder)
    where = str(folder / "config.json")
    refuse_experts(config, where)
    family_of(str(config["model_type"]), where)
    if config.get("quantization_config"):
        raise _folder_error("have weights that are not quantised", "a `quantization_config`", folder)
    for file in _weight_files(folder):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (SafetensorError, OSError) as error:
            raise _folder_error(f"have an undamaged {file.name}", _first_line(error), folder) from error


def _config(folder: Path) -> dict[str, Any]:
    """config.json, which must have a `model_type`."""
    file = folder / "config.json"
    if not file.is_file():
        raise _folder_error("have a config.json", "no such file", folder)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if "model_type" not in config:
            raise KeyError("model_type")
    except (ValueError, KeyError, TypeError) as error:
        raise _folder_error("have a config.json with a `model_type`", repr(error), folder) from error
    return cast(dict[str, Any], config)


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        names = {"model.safetensors"}
    else:
        try:
            names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _folder_error(f"have an undamaged {index.name}", repr(error), folder) from error
    missing = sorted(name for name in names if not (folder / name).is_file())
    if missing:
        pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pth"))
        others = ", only pickles, which are not read because they can run code" if pickles else ""
        raise _folder_error("have its safetensors weights", f"no {', '.join(missing)}{others}", folder)
    return [folder / name for name in sorted(names)]


def _folder_error(rule: str, found: str, folder: Path) -> UserError:
    return UserError(f"A model folder must {rule}", found=found, where=str(folder), remedy=_FETCH)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
