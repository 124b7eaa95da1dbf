"""Atomic writes: a file or folder appears whole or not at all.

Everything is written under a temporary name beside its destination and moved there with `os.replace`, which POSIX makes
atomic. A crash, a full disk or a second process therefore never leaves half a file under its final name. There is no
fsync: this guards against a killed process, not a power cut.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from wina_amp.errors import UserError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[Path]:
    """Yield a temporary path beside `path`; on success it becomes `path`, on any failure it is removed.

    Works for files and for folders (create the folder yourself; an existing folder at `path` is replaced). Parents are
    created. An `OSError` such as a full disk becomes a `UserError`; what was at `path` before is then untouched.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove(temporary)
        yield temporary
        if temporary.is_dir():
            remove(target)
        os.replace(temporary, target)
    except OSError as error:
        raise UserError(
            "Files must be writable",
            found=f"{type(error).__name__}: {error.strerror or error}",
            where=str(target),
            remedy="free disk space or correct the permissions, then run the command again; finished parts are kept",
        ) from error
    finally:
        remove(temporary)


def refuse_full(folder: Path) -> None:
    """Refuse a folder to write into that has something in it.

    Raises:
        UserError: it has, or is a file.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        remedy = "name another one, or remove it"
        raise UserError("The folder must be new or empty", "something that is there", folder, remedy)


def remove(path: Path) -> None:
    """Delete a file or a folder with all it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
