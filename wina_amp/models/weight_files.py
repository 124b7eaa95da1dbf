"""The weight files of a checkpoint, known to be those that transformers loads, and what their headers say.

transformers reads `model.safetensors` if it is there and the files of the index otherwise, and of every file it reads
all tensors, whatever the index says about them. So the two must not stand side by side, the files must lie in the
folder, and no tensor may be in two of them: then it makes no difference who chooses.
"""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

from safetensors import SafetensorError, safe_open

from wina_amp.models.advice import (
    FETCH,
    INDEX_OF_SHARDS,
    LFS,
    UNQUANTISED,
    folder_error,
    is_pointer,
    remedy_for,
    whereabouts,
)
from wina_amp.models.source import UNWANTED

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

FLOATS = ("F64", "F32", "F16", "BF16")
"""Numbers that are weights as they stand; all others need a scale that a dense model knows nothing of."""


def check_weights(folder: Path) -> None:
    """Refuse weights that are not there, damaged, quantised, or that transformers might not be the ones to load.

    Raises:
        UserError: no safetensors, or two sets of them; an index that is damaged or leads out of the folder; a file
            that is missing, damaged, or without a weight that the index says is there; a weight in two files;
            integers or 8-bit floats.
    """
    listed = _listed(folder)
    names = sorted(set(listed.values()) or {SINGLE})
    if (folder / SINGLE).exists() and names != [SINGLE]:
        remedy = f"remove those that are not wanted: {SINGLE}, or {INDEX} with its files"
        found = f"{SINGLE} and {INDEX}, which names {', '.join(names[:3])}"
        raise folder_error("have its weights once", found, folder, remedy)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        found = f"{whereabouts(folder / missing[0])}{'' if listed else _others(folder)}"
        raise folder_error("have its safetensors weights", found, folder, FETCH if listed else _remedy(folder))
    file_of: dict[str, str] = {}
    for name in names:
        held = _held(folder / name)
        absent = sorted(weight for weight, file in listed.items() if file == name and weight not in held)
        if absent:
            lacking = f"{len(absent)} that are not, for example {absent[0]}"
            raise folder_error(f"have the weights that {INDEX} says are in {name}", lacking, folder)
        twice = sorted(held & file_of.keys())
        if twice:
            found = f"{twice[0]} in {file_of[twice[0]]} and in {name}"
            raise folder_error("have every weight in one file", found, folder)
        file_of |= dict.fromkeys(held, name)


def _others(folder: Path) -> str:
    if any(path.suffix in (".bin", ".pth", ".pt") for path in folder.iterdir()):
        return ", only pickles, which are not read because they can run code"
    gguf = sorted(path.name for path in folder.glob("*.gguf"))
    return f", only {gguf[0]}" if gguf else ""


def _remedy(folder: Path) -> str:
    remedy = FETCH if (folder / SINGLE).is_symlink() else remedy_for(folder)
    return INDEX_OF_SHARDS if remedy == FETCH and any(folder.glob("model*-of-*.safetensors")) else remedy


def _listed(folder: Path) -> dict[str, str]:
    """The file of every weight according to the index; empty where there is no index."""
    index = folder / INDEX
    if not index.exists() and not index.is_symlink():
        return {}
    try:
        listed: object = json.loads(index.read_text(encoding="utf-8"))["weight_map"] if index.is_file() else None
        if not isinstance(listed, dict) or not all(isinstance(file, str) for file in listed.values()):
            raise ValueError("no object `weight_map` of names")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        remedy = LFS if index.is_file() and is_pointer(index) else FETCH
        raise folder_error(f"have an undamaged {INDEX}", whereabouts(index, error), folder, remedy) from error
    for file in sorted(set(listed.values())):
        # Names that `checkpoint_files` leaves out would be loaded, and no change of them noticed.
        if not file.endswith(".safetensors") or any(fnmatch(file, pattern) for pattern in UNWANTED):
            found = f"{file!r} in {INDEX}"
            raise folder_error("have weights in safetensors files of its own, of the usual names", found, folder)
    return listed


def _held(file: Path) -> set[str]:
    """The names of the weights in a file, from its header, which also says how long the file must be."""
    try:
        with safe_open(file, framework="np") as opened:  # nothing is read that NumPy would have to know
            dtypes = {str(name): str(opened.get_slice(name).get_dtype()) for name in opened.offset_keys()}
    except (SafetensorError, OSError) as error:
        remedy = LFS if is_pointer(file) else FETCH
        raise folder_error(f"have an undamaged {file.name}", whereabouts(file, error), file.parent, remedy) from error
    odd = next((name for name, dtype in dtypes.items() if dtype not in FLOATS), None)
    if odd is not None:
        found = f"{odd} of {dtypes[odd]} in {file.name}"
        raise folder_error("have weights that are not quantised", found, file.parent, UNQUANTISED)
    return set(dtypes)
