"""Check a checkpoint's folder before transformers reads it, and refuse what would load as another model.

transformers gives missing tensors random values, reads the shards it finds, and asks on the terminal whether foreign
code may be run. Everything here reads configuration files and the headers of weight files, never weights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from wina_amp.errors import UserError
from wina_amp.models.families import family_of, refuse_experts

FETCH = "run `dvc pull` or `git checkout` to restore the folder, or correct `model.path` in params.yaml"

_INDEX = "model.safetensors.index.json"


def check_folder(folder: Path, *, remote_code: bool = False) -> None:
    """Refuse a checkpoint that cannot be loaded as what its config says.

    Args:
        folder: the checkpoint.
        remote_code: whether Python code in it may be run.

    Raises:
        UserError: no or unreadable config.json; experts; a family without a row; code that may not be run; quantised
            weights; weight files that are missing, damaged, or not those of the index.
    """
    config = config_of(folder)
    where = str(folder / "config.json")
    refuse_experts(config, where)
    family_of(str(config["model_type"]), where)
    if not remote_code:
        refuse_code(folder)
    if config.get("quantization_config"):
        raise folder_error("have weights that are not quantised", "a `quantization_config`", folder)
    _check_weights(folder)


def config_of(folder: Path) -> dict[str, Any]:
    """config.json, which must have a `model_type`.

    Raises:
        UserError: it does not exist, is no JSON or has none.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise folder_error("have a config.json", "no such file", folder)
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        if "model_type" not in config:
            raise KeyError("model_type")
    except (ValueError, KeyError, TypeError) as error:
        raise folder_error("have a config.json with a `model_type`", repr(error), folder) from error
    return cast(dict[str, Any], config)


def refuse_code(folder: Path) -> None:
    """Refuse a checkpoint whose model is defined by code it brings along.

    Many checkpoints carry such code beside a `model_type` that transformers knows as well (Phi-3, Phi-4); theirs is not
    needed and not run.

    Raises:
        UserError: `auto_map` names a model class, and transformers has none for this `model_type`.
    """
    config = config_of(folder)
    named = config.get("auto_map")
    is_known = config["model_type"] in CONFIG_MAPPING_NAMES
    if isinstance(named, dict) and "AutoModelForCausalLM" in named and not is_known:
        raise code_error(f"`auto_map: {named['AutoModelForCausalLM']}`", folder / "config.json")


def code_error(found: str, where: Path) -> UserError:
    """The error for a checkpoint that needs code of its own."""
    return UserError(
        "A checkpoint that brings its own Python code needs your consent to run it",
        found=found,
        where=str(where),
        remedy="read that code, then set `model.remote_code: true` in params.yaml",
    )


def folder_error(rule: str, found: str, folder: Path) -> UserError:
    """The error for a folder that breaks a rule: "a model folder must <rule>"."""
    return UserError(f"A model folder must {rule}", found=found, where=str(folder), remedy=FETCH)


def first_line(error: Exception) -> str:
    """The first line of an exception's message, or its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_weights(folder: Path) -> None:
    listed = _listed(folder)
    names = sorted(set(listed.values()) or {"model.safetensors"})
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        has_pickles = any(folder.glob("*.bin")) or any(folder.glob("*.pth"))
        others = ", only pickles, which are not read because they can run code" if has_pickles else ""
        raise folder_error("have its safetensors weights", f"no {', '.join(missing)}{others}", folder)
    for name in names:
        held = _held(folder / name)
        absent = sorted(weight for weight, file in listed.items() if file == name and weight not in held)
        if absent:
            lacking = f"{len(absent)} that are not, for example {absent[0]}"
            raise folder_error(f"have the weights that {_INDEX} says are in {name}", lacking, folder)


def _listed(folder: Path) -> dict[str, str]:
    """The file of every weight according to the index; empty where there is no index."""
    index = folder / _INDEX
    if not index.is_file():
        return {}
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {str(weight): str(file) for weight, file in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise folder_error(f"have an undamaged {index.name}", repr(error), folder) from error


def _held(file: Path) -> set[str]:
    """The names of the weights in a file, from its header, which also says how long the file must be."""
    try:
        with safe_open(file, framework="pt") as opened:
            return set(cast(Iterable[str], opened.keys()))
    except (SafetensorError, OSError) as error:
        raise folder_error(f"have an undamaged {file.name}", first_line(error), file.parent) from error
