"""Copies of the tiny model that a test may damage, and what may be done to them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 9\n"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

Change = Callable[[Path], object]


def copy_of(folder: Path, to: Path, *changes: Change) -> Path:
    """A changed copy of a checkpoint."""
    copied = Path(shutil.copytree(folder, to))
    for change in changes:
        change(copied)
    return copied


COMMIT = "62bd457b6fe961a42a631306577e622c83876cb6"
REPOSITORY = "organisation/tiny-llama"


def hub_snapshot(folder: Path, hub: Path) -> Path:
    """A checkpoint as `REPOSITORY` at `COMMIT`, its branch `main`, in the layout of the hub's cache: a snapshot of
    links to blobs, of which that of the weights is named by its SHA-256."""
    repository = hub / "models--organisation--tiny-llama"
    snapshot = repository / "snapshots" / COMMIT
    for part in (repository / "blobs", repository / "refs", snapshot):
        part.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(folder.iterdir())):
        name = hashlib.sha256(file.read_bytes()).hexdigest() if file.suffix == ".safetensors" else f"{number:040d}"
        shutil.copy(file, repository / "blobs" / name)
        (snapshot / file.name).symlink_to(Path("..") / ".." / "blobs" / name)
    return snapshot


def set_config(**values: object) -> Change:
    """Set entries of config.json."""

    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


def set_weights(**values: torch.Tensor | None) -> Change:
    """Put tensors into the weight file, in place of those of the same name; None takes one out."""

    def change(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS) | values
        save_file(
            {name: w for name, w in weights.items() if w is not None}, folder / WEIGHTS, metadata={"format": "pt"}
        )

    return change


def put(name: str, text: str | bytes = "") -> Change:
    """Write a file."""
    return lambda folder: (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)


def remove(*names: str) -> Change:
    """Remove files."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def rename(old: str, new: str) -> Change:
    """Rename a file."""
    return lambda folder: (folder / old).rename(folder / new)


def shard(folder: Path) -> None:
    """Divide the weights among two files with an index."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    index = {name: f"model-{1 + number % 2:05d}-of-00002.safetensors" for number, name in enumerate(weights)}
    for file in set(index.values()):
        held = {name: weight for name, weight in weights.items() if index[name] == file}
        save_file(held, folder / file, metadata={"format": "pt"})
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": index}))


def set_index(**files: str) -> Change:
    """Set entries of the index: weight -> file."""

    def change(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        (folder / INDEX).write_text(json.dumps({"weight_map": index["weight_map"] | files}))

    return change


def link(name: str, target: str) -> Change:
    """Replace a file by a symbolic link."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change
