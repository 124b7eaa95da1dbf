"""What files held when a stage started, and which of them have changed since.

DVC hashes dependencies when a command has ended. An edit, or a branch switched, while the command ran would be recorded
with outputs that were made without it, and nothing would ever run again. So `python -m stages` takes the digests of all
code before it imports any of it, those of data before it reads them, and compares both at the end (`stages/run.py`).

Standard library only: this is imported before the digests are taken.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where the code that runs lies; data lies below the current folder."""

CODE = ("wina_amp", "pipeline", "stages", "requirements.txt")
"""What of `ROOT` is the code of stages."""

ABSENT = "absent"
"""In place of a digest: the file is not there. Outside DVC a stage may run without some, learned weights for example;
what it cannot do without it refuses itself."""

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
        """SHA-256 of a file, or of the names and contents of all files below a folder, or `ABSENT`."""
        if path not in self._taken:
            self._taken[path] = self._part_of_taken_code(path) or _files(_located(path))
        return _digest(self._taken[path])

    def changed(self, path: str) -> bool:
        """Whether the file or folder differs from what it was, or is code that was written to at all: what was edited
        and put back may have been imported in between. Reads only what has another size or time than before."""
        before, now = self._taken[path], _statuses(_located(path))
        if {name: file.status for name, file in before.items()} == now:
            return False
        return _is_code(path) or _digest(_files(_located(path))) != _digest(before)

    def _part_of_taken_code(self, path: str) -> dict[str, _File] | None:
        folder, _, rest = path.partition("/")
        if not rest or folder not in self._taken:
            return None
        prefix = f"{rest}/"
        files = self._taken[folder].items()
        return {"" if name == rest else name.removeprefix(prefix): file for name, file in files
                if name == rest or name.startswith(prefix)}  # fmt: skip


def _is_code(path: str) -> bool:
    return path.partition("/")[0] in CODE


def _located(path: str) -> Path:
    return ROOT / path if _is_code(path) else Path(path)


def _files(path: Path) -> dict[str, _File]:
    return {name: _File(status, _sha256(path / name)) for name, status in _statuses(path).items()}


def _statuses(path: Path) -> dict[str, _Status]:
    """Relative name ("" for a file itself) -> status."""
    if path.is_dir():
        below = (Path(folder, name) for folder, _, names in os.walk(path, followlinks=True) for name in names)
        files = sorted(file for file in below if file.is_file() and _is_content(file))
        return {str(file.relative_to(path)): _status(file) for file in files}
    return {"": _status(path)} if path.exists() else {}


def _is_content(file: Path) -> bool:
    """Python writes `__pycache__` while a stage runs; a killed process leaves what `wina_amp/atomic.py` had begun."""
    return file.parent.name != "__pycache__" and not file.match(".*.tmp")


def _status(file: Path) -> _Status:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _digest(files: dict[str, _File]) -> str:
    if not files:
        return ABSENT
    listed = "".join(f"{name}\0{file.digest}\n" for name, file in files.items())
    return hashlib.sha256(listed.encode()).hexdigest()


at_start: Snapshot | None = None
"""Of the stage that this process runs; None in tests and commands, which digest what is there when they ask."""
