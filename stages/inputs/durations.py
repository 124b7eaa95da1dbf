"""How long stages took, and on which machine: notes beside the scratch folders, which the report reads.

Seconds enter no table: a stage that is restored from a cache would repeat another machine's, and equal runs would not
be equal bytes. A stage leaves a note of its time and of what it wrote when it ends. A note counts while dvc.lock has
the same outs, so what was restored, or made with other settings since, never borrows a time. A stage that was resumed
notes what it took from there.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.storage.scratch import scratch_root
from stages.inputs.recorded import recorded_outs
from wina_amp.atomic import replacing

CPU_FACTS = Path("/proc/cpuinfo")
FOLDER = "durations"


@dataclass(frozen=True)
class Note:
    """One stage: what it wrote (path -> digest), its time, and the machine."""

    outs: Mapping[str, str]
    seconds: float
    machine: str


@dataclass(frozen=True)
class Durations:
    """The time of all stages of which there is a note that counts; `is_all` says whether that is all of them."""

    seconds: float
    machine: str
    is_all: bool


def note(stage: str, outs: Mapping[str, str], seconds: float) -> None:
    """Write the note of a stage that has ended."""
    with replacing(scratch_root() / FOLDER / f"{stage}.json") as file:
        file.write_text(json.dumps(asdict(Note(outs, round(seconds, 1), machine()))), encoding="utf-8")


def durations(outs: Set[str]) -> Durations | None:
    """The sum of all notes that count, of the stages that write `outs`; None where there is none."""
    recorded = recorded_outs()
    notes = [Note(**json.loads(file.read_text(encoding="utf-8"))) for file in (scratch_root() / FOLDER).glob("*.json")]
    known = [
        entry
        for entry in notes
        if all(path in outs and digest in recorded.get(path, ()) for path, digest in entry.outs.items())
    ]
    if not known:
        return None
    longest = max(known, key=lambda entry: entry.seconds)
    covered = {path for entry in known for path in entry.outs}
    return Durations(sum(entry.seconds for entry in known), longest.machine, is_all=outs <= covered)


def machine() -> str:
    """The GPU's name where this process uses one, else the processor's, and the number of its cores."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    try:
        named = re.search(r"^model name\s*:\s*(.+)$", CPU_FACTS.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return f"{named[1].strip() if named else platform.machine()}, {os.cpu_count()} cores"
