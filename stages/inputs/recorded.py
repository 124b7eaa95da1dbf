"""Inputs compared with what dvc.lock says that the stages which made them wrote.

DVC takes a file for unchanged as long as its size and times are, and a read-only copy in its cache for whole. Tables
have checksums of their own; routers, bases and JSON files have none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from stages.inputs.snapshot import Snapshot
from wina_amp.errors import RESTORE, UserError

LOCK = "dvc.lock"

# Read as text: parsing all of the file as YAML takes longer than a small stage.
_OUTS = re.compile(r"^    outs:\n((?:    [- ] .*\n)+)", re.MULTILINE)
_OUT = re.compile(r"^    - path: (.+)\n      hash: md5\n      md5: (\w+(?:\.dir)?)$", re.MULTILINE)


def check_inputs(deps: Iterable[str], taken: Snapshot) -> None:
    """Compare files and folders with dvc.lock. What no stage has made is not compared, nor is what is missing.

    Raises:
        UserError: a file, or the files of a folder, are not what was recorded.
    """
    recorded = recorded_outs()
    for dep in deps:
        below = [path for path in recorded if path.startswith(f"{dep}/")]
        for path in [dep] if dep in recorded else below:
            if Path(path).exists() and taken.digest(path) not in recorded[path]:
                raise UserError(
                    "Data must be what the stage that made it wrote",
                    found=f"another content than {LOCK} has",
                    where=path,
                    remedy=RESTORE,
                )


def recorded_outs() -> dict[str, set[str]]:
    """Path of every out -> its MD5, several where a removed stage has left its entry."""
    recorded: dict[str, set[str]] = defaultdict(set)
    if Path(LOCK).is_file():
        for outs in _OUTS.findall(Path(LOCK).read_text(encoding="utf-8", errors="replace")):
            for path, digest in _OUT.findall(outs):
                recorded[path].add(digest)
    return dict(recorded)
