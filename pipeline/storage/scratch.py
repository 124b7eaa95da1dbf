"""Resumable work: finished parts outlive the process that made them.

DVC wipes a stage's outs before it runs, so a stage that was killed after an hour would start from nothing. Long stages
therefore write parts here, under `.scratch/<stage>/<digest>/`, and publish them to the out at the end. The digest is
that of a fingerprint of everything that the parts depend on, which stages derive from dvc.yaml
(`stages/inputs/fingerprint.py`): parts of another model, setting or code version are never picked up.

`kill -9` on DVC leaves the stage's process running, and a second `dvc repro` then starts a second writer. Two locks
turn that one away: one on the parts, and one on the outs of the stage in the current folder, because the second writer
may have other settings, and so other parts. Queued experiments run in temporary folders, so the scratch lives under
`$DVC_ROOT`, the main repository, where all of them find it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.storage.parts import Parts, nothing
from wina_amp.errors import UserError

if TYPE_CHECKING:
    from numpy import ndarray


_held: dict[Path, int] = {}
"""The locks on outs that this process has, as file descriptors."""


@contextmanager
def scratch(stage: str, fingerprint: Mapping[str, Any], check: Callable[[], None] = nothing) -> Generator[Parts]:
    """The finished parts that belong to one fingerprint, locked for this process and those that it starts until the end
    of the block.

    Args:
        stage: as DVC writes it, `evaluate@wina`; not `$DVC_STAGE`, which is a path where DVC runs in another folder.
        fingerprint: everything that the parts depend on; must be JSON-serialisable.
        check: called before a part is finished; raises an error where the fingerprint no longer holds. Can be pickled.

    Raises:
        UserError: another process is at work on the same parts, or on the same stage in this folder; or the folder
            cannot be written.
    """
    hold(stage)
    digest = hashlib.sha256(json.dumps(dict(fingerprint), sort_keys=True).encode()).hexdigest()
    folder = scratch_root() / stage / digest
    # The lock stands beside the folder, not in it: `clear` deletes the folder while it is held.
    lock = _locked(folder.with_suffix(".lock"))
    try:
        yield Parts(folder, check)
    finally:
        os.close(lock)


def hold(stage: str) -> None:
    """Keep other processes from working on the outs of `stage` in the current folder, until this process ends.

    Raises:
        UserError: another process holds them.
    """
    path = Path.cwd() / ".scratch" / f"{stage}.lock"
    if path not in _held:
        _held[path] = _locked(path)


def scratch_root() -> Path:
    """The folder of all scratch folders: in the main repository, wherever DVC runs the stage."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()) / ".scratch"


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder, for use in a fingerprint.

    Links are followed. `__pycache__` is left out: Python writes it into a folder of task files while it reads them. So
    is what a killed process has left of a file (`wina_amp/atomic.py`).
    """
    path = Path(path)
    below = (Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
    files = sorted(file for file in below if file.is_file() and _is_content(file)) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def array_digest(array: ndarray) -> str:
    """SHA-256 of an array's type, shape and values, for use in a fingerprint."""
    return hashlib.sha256(f"{array.dtype.str}{array.shape}".encode() + array.tobytes()).hexdigest()


def _is_content(file: Path) -> bool:
    return file.parent.name != "__pycache__" and not file.match(".*.tmp")


def _locked(path: Path) -> int:
    """The descriptor of the locked file, which says which process has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(lock, 0)
            os.write(lock, str(os.getpid()).encode())
        except OSError:
            os.close(lock)
            raise
    except BlockingIOError as error:
        owner = path.read_text(encoding="utf-8").strip() or "unknown"
        raise UserError(
            "Only one process may work on a stage at a time",
            found=f"process {owner} holds the lock, perhaps one left over from a killed `dvc repro`",
            where=str(path),
            remedy=f"wait for it or end it (`kill {owner}`), then run again",
        ) from error
    except OSError as error:
        raise UserError(
            "The scratch folder must be writable, on a disk with locks",
            found=f"{type(error).__name__}: {error.strerror or error}",
            where=str(path.parent),
            remedy="free disk space, correct the permissions or use another disk, then run `dvc repro` again",
        ) from error
    return lock
