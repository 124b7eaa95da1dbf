"""Check a checkpoint's folder before transformers reads it, and refuse what would load as another model.

transformers takes one of several copies of the weights, follows an adapter to another model, gives missing tensors
random values, and asks on the terminal whether foreign code may be run. Everything here reads configuration files and
the headers of weight files (`wina_amp/models/weight_files.py`), never weights. Whether every tensor has its place is
known once it is loaded: `wina_amp/models/load.py` refuses by transformers' own report.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from wina_amp.errors import UserError
from wina_amp.models.advice import ADAPTER, FETCH, LFS, UNQUANTISED, folder_error, is_pointer, remedy_for, whereabouts
from wina_amp.models.families import family_of, refuse_experts
from wina_amp.models.weight_files import check_weights

CONFIG = "config.json"


def check_folder(folder: Path, *, remote_code: bool = False) -> None:
    """Refuse a checkpoint that cannot be loaded as what its config says.

    Raises:
        UserError: an adapter; no or unreadable config.json; unreadable generation_config.json, or ends in it that are
            no tokens; experts; a family without a row; code that may not be run; quantised weights; and see
            `check_weights`.
    """
    if (folder / "adapter_config.json").is_file():
        raise folder_error("hold a whole model", "an adapter (adapter_config.json)", folder, ADAPTER)
    config = config_of(folder)
    generation = folder / "generation_config.json"
    if generation.exists() or generation.is_symlink():
        # transformers passes over one that it cannot read, and generation ends elsewhere.
        _check_ends(_object_in(generation, f"have an undamaged {generation.name}, or none"), folder)
    where = str(folder / CONFIG)
    refuse_experts(config, where)
    family_of(str(config["model_type"]), where)
    if not remote_code:
        refuse_code(folder)
    for name in ("quantization_config", "quantization"):
        if config.get(name):
            method = config[name].get("quant_method") if isinstance(config[name], dict) else None
            found = f"a `{name}`{f' of {method}' if method else ''} in {CONFIG}"
            raise folder_error("have weights that are not quantised", found, folder, UNQUANTISED)
    if config.get("transformers_weights"):
        found = f"`transformers_weights: {config['transformers_weights']}` in {CONFIG}"
        remedy = f"take the line out of {CONFIG} and give the file the usual name"
        raise folder_error("have its weights in files of the usual names", found, folder, remedy)
    check_weights(folder)


def config_of(folder: Path) -> dict[str, Any]:
    """config.json, which must have a `model_type`.

    Raises:
        UserError: it does not exist, is no JSON or has none.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise folder_error(f"have a {CONFIG}", whereabouts(file), folder, remedy_for(folder))
    config = _object_in(file, f"have a {CONFIG} with a `model_type`")
    if not isinstance(config.get("model_type"), str):
        found = f"`model_type: {config.get('model_type')}`"
        raise folder_error(f"have a {CONFIG} with a `model_type`", found, folder)
    return config


def refuse_code(folder: Path) -> None:
    """Refuse a checkpoint whose model is defined by code it brings along.

    Many checkpoints carry such code beside a `model_type` that transformers knows as well (Phi-3, Phi-4); theirs is not
    needed and not run.

    Raises:
        UserError: `auto_map` names a model class, and transformers has none for this `model_type`.
    """
    config = config_of(folder)
    named = config.get("auto_map")
    if isinstance(named, dict) and "AutoModelForCausalLM" in named and not _is_known(str(config["model_type"])):
        raise code_error(f"`auto_map: {named['AutoModelForCausalLM']}`", folder / CONFIG)


def code_error(found: str, where: Path) -> UserError:
    """The error for a checkpoint that needs code of its own."""
    return UserError(
        "A checkpoint that brings its own Python code needs your consent to run it",
        found=found,
        where=str(where),
        remedy="read that code, then set `model.remote_code: true` in params.yaml",
    )


def _check_ends(generation: dict[str, Any], folder: Path) -> None:
    ends = generation.get("eos_token_id")
    given: list[object] = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if not all(type(end) is int for end in given):
        raise folder_error("name the tokens that end an answer by their numbers", f"`eos_token_id: {ends}`", folder)


def _object_in(file: Path, rule: str) -> dict[str, Any]:
    """The JSON object in a file."""
    try:
        content: object = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"{type(content).__name__} instead of an object")
    except (OSError, ValueError, RecursionError) as error:
        remedy = LFS if is_pointer(file) else FETCH
        raise folder_error(rule, whereabouts(file, error), file.parent, remedy) from error
    return cast(dict[str, Any], content)


def _is_known(model_type: str) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # seconds, rarely needed

    return model_type in CONFIG_MAPPING_NAMES
