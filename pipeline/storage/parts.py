"""Finished parts of a long stage: files in a folder, each with its SHA-256 beside it.

A part that is damaged, cut short, empty or without its SHA-256 is deleted with a warning and made again. Only parts
that are named and whole are published: nothing else that lies in the folder reaches an out.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from wina_amp.atomic import remove, replacing
from wina_amp.errors import UserError

if TYPE_CHECKING:
    from numpy import ndarray

log = logging.getLogger("pipeline.storage")


def nothing() -> None:
    """No check."""


@dataclass(frozen=True)
class Parts:
    """The finished parts in one folder. Can be pickled: worker processes write to the same folder.

    Workers on other machines have `has`, `read` and `write` only, which run in the driver (`on_driver`,
    `pipeline/executors/ray_worker.py`).

    Attributes:
        folder: of the parts.
        check: called before a part is finished; it is not where this raises an error.
    """

    folder: Path
    check: Callable[[], None] = nothing

    on_driver: ClassVar = ("has", "read", "write")

    def below(self, name: str) -> Parts:
        """The parts in a folder of this folder, for stages that publish several outs."""
        return Parts(self.folder / name, self.check)

    def has(self, name: str) -> bool:
        """Whether the part was finished, by this run or an earlier one. A damaged one is deleted, with a warning."""
        path = self.folder / name
        if not os.path.lexists(path):
            return False
        is_whole = _is_whole(path, path)
        if not is_whole:
            log.warning("%s is damaged and made again", path)
            _delete(path)
            _delete(_digests(path))
        return is_whole

    def read(self, name: str) -> bytes:
        """The content of a finished part.

        Raises:
            UserError: see `path`.
        """
        return self.path(name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Finish a part, in place of an earlier one."""
        with self.writing(name) as path:
            path.write_bytes(content)

    def path(self, name: str) -> Path:
        """The file of a finished part.

        Raises:
            UserError: it is damaged, or was never finished.
        """
        path = self.folder / name
        if not _is_whole(path, path):
            raise _damaged(path)
        return path

    @contextmanager
    def writing(self, name: str) -> Generator[Path]:
        """`with parts.writing("0001.parquet") as path:` write to `path`; the part exists once the block ends well."""
        path = self.folder / name
        with replacing(path) as temporary:
            yield temporary
            self.check()
            if _digests(path).is_dir():
                _delete(_digests(path))
            # Added to those of earlier parts of this name: whichever stands there after a crash is known.
            with _digests(path).open("a", encoding="utf-8") as digests:
                digests.write(f"\n{_sha256(temporary)}\n")

    def publish(self, out: str | os.PathLike[str], names: Iterable[str]) -> None:
        """Copy the parts of these names, and nothing else, to the folder `out`, which appears whole; the parts stay.

        Raises:
            UserError: a part is damaged, or was never finished; `out` is then what it was.
        """
        with replacing(out) as temporary:
            temporary.mkdir()
            for name in names:
                path = self.path(name)
                shutil.copyfile(path, temporary / name)
                if not _is_whole(temporary / name, path):
                    raise _damaged(path)

    def clear(self) -> None:
        """Delete the parts."""
        shutil.rmtree(self.folder, ignore_errors=True)


class JsonParts:
    """JSON values by name, each a file among the parts of a folder; `prefix` begins the names of the files."""

    def __init__(self, parts: Parts, prefix: str = "") -> None:
        self._parts, self._prefix = parts, prefix

    def get(self, name: str) -> Any:
        """The value, or None if it was never kept, or is damaged."""
        part = f"{self._prefix}{name}.json"
        return json.loads(self._parts.read(part)) if self._parts.has(part) else None

    def put(self, name: str, value: Any) -> None:
        """Keep a value, in place of an earlier one."""
        self._parts.write(f"{self._prefix}{name}.json", json.dumps(value).encode())


def npy_bytes(array: ndarray) -> bytes:
    """An array as the content of a part that `numpy.load` reads."""
    import numpy as np

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _digests(path: Path) -> Path:
    """The file with the SHA-256 of a part, and of what stood there before it under the same name."""
    return path.with_name(f"{path.name}.sha256")


def _is_whole(file: Path, part: Path) -> bool:
    """Whether the content of `file` is what was written as `part`."""
    try:
        return _sha256(file) in _digests(part).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _delete(path: Path) -> None:
    """A file or folder; where it cannot be, writing says so."""
    with suppress(OSError):
        remove(path)


def _damaged(path: Path) -> UserError:
    return UserError(
        "A finished part must be what was written",
        found="another content, or none",
        where=str(path),
        remedy="run again: it is made anew, all others are kept",
    )
