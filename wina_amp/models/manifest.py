"""The manifest of a checkpoint: every file that decides what the model computes, with its size and SHA-256.

Weights are never a dependency of DVC: it would hash 15 GB again for every experiment, and sees no folder outside the
repository anyway. Stages depend on this small table instead, and rerun when a file of the checkpoint is another one.

The same checkpoint gives the same manifest on every machine: no dates, no paths, and only the files that loading reads
(`source.checkpoint_files`), whatever lies beside them. The hub's cache names large files by their SHA-256; such a name
is compared with the content, never taken for it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from wina_amp.atomic import replacing
from wina_amp.errors import RESTORE, UserError
from wina_amp.models.advice import first_line

Hasher = Callable[[Path], str]
"""SHA-256 of a file, in hexadecimal."""

REMEDY = "run `make repro`, or `dvc repro --force --single-item manifest` and then `dvc repro`"

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_SNAPSHOT = re.compile(r"^models--(?P<owner>[^/]+)--(?P<name>[^/]+)/snapshots/(?P<commit>[^/]+)$")


@dataclass(frozen=True)
class File:
    """One file: bytes, and SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A checkpoint's files, with repository and commit if it is from the hub.

    Attributes:
        repository: `organisation/name` on the hub; None for a folder.
        commit: the commit that the revision stands for; None for a folder.
        files: by name.
    """

    repository: str | None
    commit: str | None
    files: dict[str, File]

    @property
    def digest(self) -> str:
        """SHA-256 of names and contents: equal digests are equal checkpoints, wherever they come from."""
        named = {name: file.sha256 for name, file in self.files.items()}
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()

    def without_weights(self) -> Manifest:
        """The manifest of configuration and tokenizer only, on which token ids depend."""
        return replace(self, files={name: file for name, file in self.files.items() if not is_weights(name)})


def describe(files: Mapping[str, Path], sha256: Hasher) -> Manifest:
    """The manifest of a checkpoint.

    Args:
        files: its files by name, at least one, all in one folder, which may be a snapshot in the hub's cache.
        sha256: hashes a file.

    Raises:
        UserError: a file of the hub's cache is not what its name says.
    """
    folder = next(iter(files.values())).parent
    origin = _SNAPSHOT.match("/".join(folder.absolute().parts[-3:]))
    listed = {name: File(path.stat().st_size, sha256(path)) for name, path in files.items()}
    if origin is not None:
        _refuse_damaged(files, listed)
    if origin is None:
        return Manifest(None, None, listed)
    return Manifest(f"{origin['owner']}/{origin['name']}", origin["commit"], listed)


def differences(manifest: Manifest, files: Mapping[str, Path], sha256: Hasher | None = None) -> list[str]:
    """The differences between a checkpoint and its manifest, one phrase per file; empty if there are none.

    Names and sizes are compared first; contents only where those agree, and only if `sha256` is given.
    """
    listed = manifest.files
    phrases = [f"no {name}" for name in listed if name not in files]
    phrases += [f"a new {name}" for name in files if name not in listed]
    for name in (name for name in listed if name in files):
        size = files[name].stat().st_size
        if size != listed[name].size:
            phrases.append(f"{name} of {size:,} bytes instead of {listed[name].size:,}")
    if not phrases and sha256 is not None:
        phrases = [f"another content of {name}" for name in listed if sha256(files[name]) != listed[name].sha256]
    return phrases


def write(manifest: Manifest, path: str | os.PathLike[str]) -> None:
    """Write the manifest as JSON, atomically, with the same bytes every time."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def is_weights(name: str) -> bool:
    """Whether a file of a checkpoint holds weights, or says where they lie."""
    return name.endswith((".safetensors", ".safetensors.index.json"))


def read(path: str | os.PathLike[str]) -> Manifest:
    """The manifest at `path`.

    Raises:
        UserError: no such file, or not a manifest.
    """
    try:
        values: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        files = {str(name): File(int(file["size"]), str(file["sha256"])) for name, file in values["files"].items()}
        return Manifest(values["repository"], values["commit"], files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            "The manifest of the model must be readable",
            found=first_line(error),
            where=str(path),
            remedy=RESTORE if Path(path).exists() else REMEDY,
        ) from error


def _refuse_damaged(files: Mapping[str, Path], listed: Mapping[str, File]) -> None:
    for name, path in files.items():
        blob = path.resolve()
        if path.is_symlink() and _SHA256.match(blob.name) and blob.name != listed[name].sha256:
            raise UserError(
                "A file of the hub's cache must have the SHA-256 that it is named by",
                found=f"{listed[name].sha256} for {name}",
                where=str(blob),
                remedy="delete that file and run `make repro HF_HUB_OFFLINE=0`, which downloads it again",
            )
