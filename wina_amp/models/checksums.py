"""SHA-256 of files, cached for a week, or until a file's status says that something was written to it.

Hashing 15 GB takes most of a minute on a fast disk, and happens whenever a checkpoint is compared with its manifest. A
hash is therefore kept with the file's size, inode and times. The time of the last status change cannot be set by a
program that restores the time of modification (`rsync --inplace --times`), so a write never goes unnoticed, with one
exception that is handled as in Git: the hash of a file written within the last two seconds is not kept, because a
second write in the same tick of the clock would leave its times as they were.

A bit that a disk flips changes no status. So a hash is worth a week, after which the file is read again; `make
check-model` reads it at once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any, NamedTuple

from wina_amp.atomic import replacing

_TICK = 2.0
"""Seconds; the coarsest clock of a file system in use (FAT, some network mounts)."""

_WEEK = 7 * 24 * 3600.0
"""Seconds for which a hash is remembered."""

_WORTH_SAYING = 1 << 30

log = logging.getLogger("wina_amp.models.checksums")


class Checksums:
    """A `manifest.Hasher` that keeps hashes; call it with a path.

    Args:
        memory: file that keeps hashes between processes. A missing or damaged one is an empty one: it only saves time.
    """

    def __init__(self, memory: Path) -> None:
        self._memory = memory
        self._known = _load(memory)

    def __call__(self, path: Path) -> str:
        """SHA-256 of the file, in hexadecimal."""
        real = path.resolve()
        status = _status(real)
        key = f"{real} {' '.join(map(str, status))}"
        if key in self._known and 0 <= time.time() - self._known[key].time < _WEEK:
            return self._known[key].sha256
        digest = sha256(real)
        now = time.time()
        if _status(real) == status and now - max(status[2:]) / 1e9 > _TICK:
            others = {name: kept for name, kept in self._known.items() if not name.startswith(f"{real} ")}
            self._known = {**others, key: _Hash(digest, now)}
            with replacing(self._memory) as temporary:
                temporary.write_text(json.dumps(self._known, indent=0), encoding="utf-8")
        return digest


def sha256(path: Path) -> str:
    """SHA-256 of a file, which is read whatever is remembered of it."""
    size = path.stat().st_size
    if size > _WORTH_SAYING:
        log.info("hashing %s, %.1f GB", path.name, size / 1e9)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Hash(NamedTuple):
    """SHA-256 in hexadecimal, and when the file was read, in seconds since 1970."""

    sha256: str
    time: float


def _status(path: Path) -> tuple[int, int, int, int]:
    """Size, inode, and the times of the last write and of the last change of status, in nanoseconds."""
    facts = path.stat()
    return facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns


def _load(memory: Path) -> dict[str, _Hash]:
    """Path and status -> hash."""
    try:
        values: Any = json.loads(memory.read_text(encoding="utf-8"))
        return {str(key): _Hash(str(digest), float(time)) for key, (digest, time) in values.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
