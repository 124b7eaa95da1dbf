"""What to do about a checkpoint folder that cannot be used, by what lies in it."""

from __future__ import annotations

from pathlib import Path

from wina_amp.errors import UserError

FETCH = (
    "restore the folder (`git checkout` or `dvc pull` where they keep it; else copy or download the checkpoint again), "
    "or correct `model.path` in params.yaml"
)
ADAPTER = (
    "merge the adapter into its base model (`PeftModel.from_pretrained(base, folder).merge_and_unload()`, then "
    "`save_pretrained(new_folder)`) and set `model.path` to the new folder; where the weights here are merged already, "
    "remove adapter_config.json"
)
GGUF = (
    "make a checkpoint of the GGUF file (`python -m wina_amp.cli import-gguf FILE FOLDER`) and set `model.path` to "
    "FOLDER, or to the checkpoint that the GGUF file was made from, in safetensors"
)
PICKLES = (
    "convert them, if you trust who made them: `AutoModelForCausalLM.from_pretrained(folder).save_pretrained("
    "new_folder)`, with the tokenizer's files beside, and set `model.path` to the new folder"
)
ORIGINAL = "take the same checkpoint in the layout of transformers (config.json, model*.safetensors, tokenizer.json)"
UNQUANTISED = (
    "set `model.path` to the checkpoint that it was quantised from, in bfloat16, float16 or float32; "
    "masks act on weights as they are multiplied, and quantised kernels (fp8, int8, int4) are not known here"
)
INDEX_OF_SHARDS = (
    "add model.safetensors.index.json, which says what is in which file (a single file is named model.safetensors)"
)
LFS = "fetch the file itself: `git lfs install`, then `git lfs pull` where the folder was cloned"

_BY_CONTENT = (
    ("adapter_config.json", ADAPTER),
    ("*.gguf", GGUF),
    ("params.json", ORIGINAL),
    ("consolidated*", ORIGINAL),
    ("*.bin", PICKLES),
    ("*.pth", PICKLES),
    ("*.pt", PICKLES),
    ("*.msgpack", PICKLES),
    ("*.h5", PICKLES),
)
"""Pattern of a file -> what to do where a config or weights are missing and such a file is there; the first counts."""

_LFS_POINTER = b"version https://git-lfs"
_LONGEST_POINTER = 1024


def folder_error(rule: str, found: str, folder: Path, remedy: str = FETCH) -> UserError:
    """The error for a folder that breaks a rule: "a model folder must <rule>"."""
    return UserError(f"A model folder must {rule}", found=found, where=str(folder), remedy=remedy)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, with the next one if it ends in a colon; its type if it has none."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[: 2 if lines[0].endswith(":") else 1])


def whereabouts(file: Path, error: BaseException | None = None) -> str:
    """Why a file cannot be read: what is in its place, or else the first line of the error."""
    if file.is_symlink() and not file.exists():
        return f"no {file.name}, only a link to {file.readlink()}, which does not exist"
    if not file.exists():
        return f"no {file.name}"
    if not file.is_file():
        return f"no file {file.name}, but {'a folder' if file.is_dir() else 'a pipe or device'} of this name"
    if file.stat().st_size == 0:
        return f"an empty {file.name}"
    if is_pointer(file):
        return f"a Git LFS pointer in the place of {file.name}"
    return f"a {file.name} that cannot be read" if error is None else f"{type(error).__name__}: {first_line(error)}"


def is_pointer(file: Path) -> bool:
    """Whether a file is what Git leaves in the place of a large one that was not fetched."""
    if not file.is_file() or file.stat().st_size > _LONGEST_POINTER:
        return False
    with file.open("rb") as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER


def remedy_for(folder: Path) -> str:
    """What to do about a folder without a config or without weights."""
    for pattern, remedy in _BY_CONTENT:
        if any(folder.glob(pattern)):
            return remedy
    inner = sorted(path.parent for path in (*folder.glob("*/config.json"), *folder.glob("snapshots/*/config.json")))
    return f"set `model.path` to {inner[0]}, which has a config.json" if inner else FETCH
