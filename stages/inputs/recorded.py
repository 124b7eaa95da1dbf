"""Inputs compared with what dvc.lock says that the stages which made them wrote.

DVC takes a file for unchanged as long as its size and times are, and a read-only copy in its cache for whole. Tables
have checksums of their own; routers, bases and JSON files have none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from wina_amp.errors import RESTORE, UserError

LOCK = "dvc.lock"

# Read as text: parsing all of the file as YAML takes longer than a small stage.
_OUTS = re.compile(r"^    outs:\n((?:    [- ] .*\n)+)", re.MULTILINE)
_OUT = re.compile(r"^    - path: (.+)\n      hash: md5\n      md5: (\w+(?:\.dir)?)$", re.MULTILINE)


def check_inputs(deps: Iterable[str]) -> None:
    """Compare data with dvc.lock. What no stage has made is not compared, nor is what is missing.

    Args:
        deps: files and folders that a stage depends on.

    Raises:
        UserError: a file, or the files of a folder, are not what was recorded.
    """
    recorded = _recorded()
    for dep in deps:
        below = [path for path in recorded if path.startswith(f"{dep}/")]
        for path in map(Path, [dep] if dep in recorded else below):
            if path.exists() and _md5(path) not in recorded[str(path)]:
                raise UserError(
                    "Data must be what the stage that made it wrote",
                    found=f"another content than {LOCK} has",
                    where=str(path),
                    remedy=RESTORE,
                )


def _recorded() -> dict[str, set[str]]:
    """Path of every out -> its MD5, several where a removed stage has left its entry."""
    recorded: dict[str, set[str]] = defaultdict(set)
    if Path(LOCK).is_file():
        for outs in _OUTS.findall(Path(LOCK).read_text(encoding="utf-8", errors="replace")):
            for path, digest in _OUT.findall(outs):
                recorded[path].add(digest)
    return dict(recorded)


def _md5(path: Path) -> str:
    """As DVC forms it: of a folder, that of the list of its files, without the hidden ones that `.dvcignore` names."""
    if path.is_file():
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()
    files = [file for file in path.rglob("[!.]*") if file.is_file()]
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    listed.sort(key=lambda entry: entry["relpath"])
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest() + ".dir"
