"""Fingerprints of resumable parts, derived from the entry of the running stage in dvc.yaml.

A later run may pick up a part only if nothing has changed that the part depends on, and dvc.yaml lists what a stage
depends on: packages of code, data and params. The digests of all of them make the fingerprint. Where parts depend on
less of a dependency, the stage says on what, for example `scratch({"evaluate": target})`: nothing is left out by being
forgotten.

The dvc.yaml is the one beside the code that runs. Code is read from there, data from the current folder, params from
the settings that the stage was given, so stages resume without DVC, too. Templates (`${item}`) are filled in here,
because importing DVC takes longer than a small stage; tests/stages/inputs/test_fingerprint.py compares the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pipeline.config.params import Settings, parse
from pipeline.storage.scratch import Scratch, file_digest

ROOT = Path(__file__).resolve().parents[2]
PIPELINE = "dvc.yaml"
CODE = ("wina_amp", "pipeline", "stages")
"""Folders of the repository's root that hold the code of stages."""

ABSENT = "absent"
"""In place of a digest: the data is not there. Outside DVC a stage may run without some, learned weights for example;
what it cannot do without it refuses itself."""

_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


class Fingerprint:
    """Everything that a stage depends on, at the time when this is made.

    Args:
        settings: all of them.
        stage: its name in the pipeline file.
        name: which of the family, if the stage has a `foreach`.
        pipeline: the file that lists the stage.

    Attributes:
        resolved: deps and params as the file writes them -> with templates filled in.
        values: the same keys -> digest of the file or folder, or the param as JSON.
    """

    def __init__(self, settings: Settings, stage: str, name: str | None = None, pipeline: str = PIPELINE) -> None:
        self._title = stage if name is None else f"{stage}@{name}"
        entry = cast(Any, parse(ROOT / pipeline))["stages"][stage]
        known: dict[str, Any] = dict(vars(settings))
        if "foreach" in entry:
            family = _look_up(_TEMPLATE.fullmatch(entry["foreach"])[1], known)  # pyright: ignore[reportOptionalSubscript]
            known |= {"key": name, "item": family[name] if isinstance(family, Mapping) else name}
            entry = entry["do"]
        files, params = list(entry["deps"]), list(entry.get("params", ()))
        files += [file for param in params if isinstance(param, dict) for file in param]  # all params of a file
        params = [param for param in params if isinstance(param, str)]
        self.resolved = {written: _filled_in(written, known) for written in (*files, *params)}
        self.values = {written: _digest(self.resolved[written]) for written in files}
        self.values |= {written: _json(_look_up(self.resolved[written], known)) for written in params}

    def scratch(self, narrowed: Mapping[str, object] | None = None) -> Scratch:
        """The parts that belong to this fingerprint.

        Args:
            narrowed: dep or param as the pipeline file writes it -> all of it that the parts depend on, or that their
                names do not say; JSON-serialisable, None for nothing.

        Raises:
            ValueError: the file does not list one of them for this stage.
            UserError: see `Scratch`.
        """
        narrowed = narrowed or {}
        unknown = narrowed.keys() - self.values.keys()
        if unknown:
            raise ValueError(f"{self._title} cannot narrow {sorted(unknown)}: dvc.yaml does not list it for this stage")
        return Scratch(self._title, self.values | {written: _json(value) for written, value in narrowed.items()})


def _filled_in(written: str, known: Mapping[str, Any]) -> str:
    return _TEMPLATE.sub(lambda match: str(_look_up(match[1], known)), written)


def _look_up(path: str, known: Mapping[str, Any]) -> Any:
    """The value at `section.key`, in mappings and settings."""
    value: Any = known
    for key in path.split("."):
        value = value[key] if isinstance(value, Mapping) else getattr(value, key)
    return value


def _digest(path: str) -> str:
    file = ROOT / path if path.partition("/")[0] in CODE else Path(path)
    return file_digest(file) if file.exists() else ABSENT


def _json(value: object) -> str:
    return json.dumps(value, default=vars, sort_keys=True)
