"""Resumable work: finished parts outlive the process that made them.

DVC wipes a stage's outs before it runs, so a stage that was killed after an hour would start from nothing. Long stages
therefore write parts here, under `.scratch/<stage>/<digest>/`, and publish them to the out at the end. The digest is
that of a fingerprint of everything that the parts depend on, which stages derive from dvc.yaml
(`stages/inputs/fingerprint.py`): parts of another model, setting or code version are never picked up.

`kill -9` on DVC leaves the stage's process running, and a second `dvc repro` then starts a second writer; a lock on
the folder turns that one away. Queued experiments run in temporary folders, so the scratch lives under `$DVC_ROOT`,
the main repository, where all of them find it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from wina_amp.atomic import replacing
from wina_amp.errors import UserError


@dataclass(frozen=True)
class Parts:
    """The finished parts in one folder. Can be pickled: worker processes write to the same folder."""

    folder: Path

    def below(self, name: str) -> Parts:
        """The parts in a folder of this folder, for stages that publish several outs."""
        return Parts(self.folder / name)

    def path(self, name: str) -> Path:
        """The file of the part `name`, finished or not."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether the part was finished, by this run or an earlier one."""
        return self.path(name).exists()

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """`with parts.writing("0001.parquet") as path:` write to `path`; the part exists once the block ends well."""
        return replacing(self.path(name))

    def publish(self, out: str | os.PathLike[str]) -> None:
        """Copy all parts to the folder `out`, which appears whole; the parts stay for a later run to reuse."""
        with replacing(out) as temporary:
            shutil.copytree(self.folder, temporary, ignore=shutil.ignore_patterns(".*.tmp"))

    def clear(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Scratch:
    """The parts that belong to one fingerprint, as a context manager that gives them; they are locked for this process
    and those that it starts until `close()` or the end of the block.

    Args:
        stage: name of the folder when the stage runs outside DVC; inside DVC it is `$DVC_STAGE`.
        fingerprint: everything that the parts depend on; must be JSON-serialisable.

    Attributes:
        parts: the finished ones.

    Raises:
        UserError: another process is at work on the same parts, or the folder cannot be written.
    """

    def __init__(self, stage: str, fingerprint: Mapping[str, Any]) -> None:
        folder = scratch_root() / (os.environ.get("DVC_STAGE") or stage) / _digest(fingerprint)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The lock stands beside the folder, not in it: `clear` deletes the folder while it is held.
            self._lock = folder.with_suffix(".lock").open("w")
        except OSError as error:
            raise UserError(
                "The scratch folder must be writable",
                found=f"{type(error).__name__}: {error.strerror or error}",
                where=str(folder),
                remedy="free disk space or correct the permissions, then run `dvc repro` again",
            ) from error
        self.parts = Parts(folder)
        self._take_lock()

    def close(self) -> None:
        """Release the lock."""
        self._lock.close()

    def __enter__(self) -> Parts:
        return self.parts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise UserError(
                "Only one process may work on a stage at a time",
                found="another process holds the lock, perhaps one left over from a killed `dvc repro`",
                where=str(self.parts.folder),
                remedy=f"wait for it or end it (`fuser {self._lock.name}` names it), then run again",
            ) from error


def scratch_root() -> Path:
    """The folder of all scratch folders: in the main repository, wherever DVC runs the stage."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()) / ".scratch"


class JsonParts:
    """JSON values by name, each a file among the parts of a scratch folder.

    Args:
        parts: of the folder.
        prefix: begins the names of the files.
    """

    def __init__(self, parts: Parts, prefix: str) -> None:
        self._parts, self._prefix = parts, prefix

    def get(self, name: str) -> Any:
        """The value, or None if it was never kept."""
        part = f"{self._prefix}{name}.json"
        return json.loads(self._parts.path(part).read_text(encoding="utf-8")) if self._parts.has(part) else None

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        with self._parts.writing(f"{self._prefix}{name}.json") as file:
            file.write_text(json.dumps(value), encoding="utf-8")


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, or of the names and contents of all files below a folder, for use in a fingerprint.

    `__pycache__` is left out: Python writes it into a folder of task files while it reads them.
    """
    path = Path(path)
    below = sorted(part for part in path.rglob("*") if part.is_file() and "__pycache__" not in part.parts)
    files = below if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(path)}\0".encode())
        with file.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def _digest(fingerprint: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dict(fingerprint), sort_keys=True).encode()).hexdigest()
