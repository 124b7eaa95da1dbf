"""Files that no stage makes any more, moved out of the folders that stages read whole, and their entries in dvc.lock.

DVC does not delete the table of a method, profile set or router that was removed from params.yaml, and a stage that
depends on the folder depends on that table, too: its clone, which has no such table, would run the stage again. The
pipeline file says what belongs into a folder.
"""

from __future__ import annotations

import filecmp
import logging
import os
import re
import time
from itertools import chain, count
from operator import attrgetter
from pathlib import Path
from typing import Any, cast

from pipeline.config.params import Settings, parse
from stages.inputs.fingerprint import PIPELINES
from stages.inputs.recorded import LOCK
from stages.inputs.snapshot import ROOT
from wina_amp.atomic import replacing

_WHOLE = re.compile(r"^ {4}outs:\n(?: {4}.*\n)* {6}(?:size|nfiles): \d+\n(?: {6}isexec: true\n)?\Z", re.MULTILINE)
"""The end of a stage's entry in dvc.lock: what it wrote, with all that DVC says of it."""

_WRITING_SECONDS = 2.0
"""DVC writes all of dvc.lock in half a second."""

REMOVED = "removed"
"""The folder where they go and stay, beside that in which they lay: a file of the user's may be among them, which DVC
has in no cache and `make clean` must not delete."""

log = logging.getLogger("stages.inputs")


def set_aside(settings: Settings) -> list[Path]:
    """Move them to `REMOVED`, and say so.

    Hidden files stay: those of processes at work, and those that `.dvcignore` names.

    Returns: what was moved.
    """
    outs, deps = outs_and_deps(settings)
    folders = sorted(deps & {str(Path(out).parent) for out in outs})
    moved = [
        path
        for folder in folders
        for path in sorted(Path(folder).glob("*"))
        if str(path) not in outs and not path.name.startswith((".", "__pycache__"))
    ]
    for path in moved:
        destination = _destination(path)
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.replace(destination)
    if moved:
        names = ", ".join(str(path) for path in moved)
        folder = moved[0].parents[1] / REMOVED
        log.info("moved to %s, because no stage of params.yaml makes it: %s", folder, names)
    return moved


def forget(settings: Settings) -> None:
    """Take the stages out of dvc.lock that no longer exist, and one of which a part is missing.

    DVC keeps the former, and reads and writes all of the file after every stage: with 24 of 63 entries left over, a run
    of 39 stages took half a minute longer. Where it is killed while it writes, the last entry is cut off, and DVC would
    refuse the file. A stage that comes back is restored from the run cache.
    """
    lock = Path(LOCK)
    if not lock.is_file():
        return
    known = {f"{stage}@{name}" if name else stage for stage, (_, names) in _stages(settings).items() for name in names}
    head, *entries = _entries(lock)
    if entries and not _WHOLE.search(entries[-1]):
        log.warning("%s was cut off while DVC wrote it: its last stages come from the run cache", LOCK)
    kept = [entry for entry in entries if entry.partition(":")[0].strip() in known and _WHOLE.search(entry)]
    if not kept:
        lock.unlink()
    elif len(kept) < len(entries):
        with replacing(lock) as temporary:
            temporary.write_text(head + "".join(kept), encoding="utf-8")


def _entries(lock: Path) -> list[str]:
    """What stands before the first stage of dvc.lock, and the text of every stage; waits while DVC writes it."""
    text = None
    while True:
        before, text = text, lock.read_text(encoding="utf-8", errors="replace")  # a cut character is of a cut entry
        parts = re.split(r"^(?=  \S+:$)", text, flags=re.MULTILINE)
        if text == before or (len(parts) > 1 and _WHOLE.search(parts[-1])):
            return parts
        time.sleep(_WRITING_SECONDS)


def _destination(path: Path) -> Path:
    """In `REMOVED`, with a number behind the name where something else of that name lies."""
    plain = path.parents[1] / REMOVED / path.parent.name / path.name
    numbered = (plain.with_name(f"{plain.name}.{number}") for number in count(1))
    return next(free for free in chain([plain], numbered) if not os.path.lexists(free) or _same(free, path))


def _same(*paths: Path) -> bool:
    return all(path.is_file() for path in paths) and filecmp.cmp(*paths, shallow=False)


def outs_and_deps(settings: Settings) -> tuple[set[str], set[str]]:
    """The outs of all stages, and the deps of all, the latter as dvc.yaml writes them."""
    outs: set[str] = set()
    deps: set[str] = set()
    for stage, names in _stages(settings).values():
        written = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
        outs |= {re.sub(r"\$\{(item|key)\}", name, out) for out in written for name in names}
        deps |= set(stage["deps"])
    return outs, deps


def _stages(settings: Settings) -> dict[str, tuple[dict[str, Any], list[str]]]:
    """Stage -> what the pipeline file says of it, and of a family the names that the settings give it, else [""]."""
    entries = cast(Any, parse(ROOT / PIPELINES[0]))["stages"]
    return {
        stage: (
            entry.get("do", entry),
            list(attrgetter(entry["foreach"].strip("${}"))(settings)) if "foreach" in entry else [""],
        )
        for stage, entry in entries.items()
    }
