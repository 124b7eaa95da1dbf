"""What files held when a stage started, and which of them have changed since.

DVC hashes dependencies when a command has ended. An edit, or a branch switched, while the command ran would be recorded
with outputs that were made without it, and nothing would ever run again. So `python -m stages` takes the digests of all
code before it imports any of it, those of data before it reads them, and compares both at the end (`stages/run.py`).
What was written to counts as changed even if it is now what it was: it may have been read in between.

Digests are formed as DVC forms its own, so that one reading serves the comparison with dvc.lock, too (`recorded.py`).

Standard library only: this is imported before the digests are taken.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where the code that runs lies; data lies below the current folder."""

CODE = ("wina_amp", "pipeline", "stages", "requirements.txt")
"""What of `ROOT` is the code of stages."""

ABSENT = f"{hashlib.md5(b'[]', usedforsecurity=False).hexdigest()}.dir"
"""The digest of what is not there, that of an empty folder. Outside DVC a stage may run without some, learned weights
for example; what it cannot do without it refuses itself."""

_NO_FOLDERS, _NO_FILES = ("__pycache__", ".ipynb_checkpoints"), (".*.tmp", "*.pyc", ".gitignore", ".DS_Store")
"""No content, to DVC either (`.dvcignore`): Python writes bytecode while a stage runs, file managers and editors write
what they like, and a killed process leaves what `wina_amp/atomic.py` had begun."""

_Status = tuple[int, int, int]


@dataclass(frozen=True)
class _File:
    status: _Status
    digest: str


class Snapshot:
    """Digests of files and folders, each taken once: of code when this is made, of everything else when it is first
    asked for.

    Can be pickled: worker processes ask what has changed since the stage started, not since they did.
    """

    def __init__(self) -> None:
        self._taken: dict[str, dict[str, _File]] = {}
        for path in CODE:
            self.digest(path)

    def digest(self, path: str) -> str:
        """MD5 of a file, of the names and contents of all files below a folder, or `ABSENT`."""
        if path not in self._taken:
            self._taken[path] = self._part_of_taken(path) or _files(located(path))
        return _digest(self._taken[path])

    def changed(self, path: str) -> bool:
        """Whether anything was written to the file or folder, or has gone or come. Reads no content."""
        return {name: file.status for name, file in self._taken[path].items()} != _statuses(located(path))

    def _part_of_taken(self, path: str) -> dict[str, _File] | None:
        folder = next((str(parent) for parent in Path(path).parents if str(parent) in self._taken), None)
        if folder is None:
            return None
        rest = path.removeprefix(f"{folder}/")
        prefix = f"{rest}/"
        files = self._taken[folder].items()
        return {"" if name == rest else name.removeprefix(prefix): file for name, file in files
                if name == rest or name.startswith(prefix)}  # fmt: skip


def located(path: str) -> Path:
    """Where a dependency lies."""
    return ROOT / path if path.partition("/")[0] in CODE else Path(path)


def _files(path: Path) -> dict[str, _File]:
    return {name: _File(status, _md5(path / name)) for name, status in _statuses(path).items()}


def _statuses(path: Path) -> dict[str, _Status]:
    """Relative name ("" for a file itself) -> status."""
    if path.is_dir():
        return {str(file.relative_to(path)): _status(file) for file in _contents(path)}
    return {"": _status(path)} if path.exists() else {}


def _contents(path: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(path, followlinks=True):
        folders[:] = [name for name in folders if name not in _NO_FOLDERS]
        files = (Path(folder, name) for name in names)
        yield from (file for file in files if file.is_file() and not any(map(file.match, _NO_FILES)))


def _status(file: Path) -> _Status:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _digest(files: dict[str, _File]) -> str:
    if "" in files:
        return files[""].digest
    listed = [{"md5": files[name].digest, "relpath": name} for name in sorted(files)]
    return f"{hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest()}.dir"


at_start: Snapshot | None = None
"""Of the stage that this process runs; None in tests and commands, which digest what is there when they ask."""
