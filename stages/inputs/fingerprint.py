"""Everything that a stage depends on, derived from its entry in dvc.yaml.

dvc.yaml lists what a stage depends on: packages of code, data and params. The digests of all of them say whether
anything has changed since the stage started. With the environment (`environment.py`) they are the fingerprint of its
resumable parts: a later run may pick up a part only if nothing has changed that the part depends on. Where parts depend
on less of a dependency, the stage says on what, for example `scratch({"evaluate": target})`: nothing is left out by
being forgotten.

The dvc.yaml is the one beside the code that runs. Code is read from there, data from the current folder, params from
the settings that the stage was given, so stages resume without DVC, too. Templates (`${item}`) are filled in here,
because importing DVC takes longer than a small stage; tests/stages/inputs/test_fingerprint.py compares the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from pipeline.config.params import Settings, parse
from pipeline.storage.parts import Parts
from pipeline.storage.scratch import scratch
from stages.inputs import snapshot
from stages.inputs.environment import environment
from stages.inputs.paths import REFERENCE_PIPELINE
from wina_amp.errors import UserError, unknown

PIPELINES = ("dvc.yaml", REFERENCE_PIPELINE)
"""The files that list stages; no two stages have the same name."""

_TEMPLATE = re.compile(r"\$\{([^}]+)\}")


class Fingerprint:
    """Everything that a stage depends on, as it was when the stage started.

    Args:
        settings: all of them.
        stage: its name in one of the pipeline files.
        name: which of the family, if the stage has a `foreach`.

    Attributes:
        model: the settings of that name.
        title: the stage as DVC writes it, `evaluate@wina`.
        resolved: deps and params as the file writes them -> with templates filled in.
        values: the same keys -> digest of the file or folder, or the param as JSON.
        outs: what the stage writes, with templates filled in.
        taken: the digests of all files.

    Raises:
        UserError: no such stage, or no such name.
    """

    def __init__(self, settings: Settings, stage: str, name: str | None = None) -> None:
        self.model = settings.model
        self.title = stage if name is None else f"{stage}@{name}"
        entry, known = entry_of(stage), dict[str, Any](vars(settings))
        if "foreach" in entry:
            family = _look_up(_TEMPLATE.fullmatch(entry["foreach"])[1], known)  # pyright: ignore[reportOptionalSubscript]
            if name not in family:
                raise unknown(f"name of stage `{stage}`", name, family, "`--name`, or the settings that dvc.yaml names")
            known |= {"key": name, "item": family[name] if isinstance(family, Mapping) else name}
            entry = entry["do"]
        elif name is not None:
            must, where = f"Stage `{stage}` makes one thing and takes no name", "`--name`"
            raise UserError(must, found=name, where=where, remedy="leave it out")
        files, params = list(entry["deps"]), list(entry.get("params", ()))
        files += [file for param in params if isinstance(param, dict) for file in param]  # all params of a file
        self._files, self._params = files, [param for param in params if isinstance(param, str)]
        self.taken = snapshot.at_start or snapshot.Snapshot()
        self.resolved = {written: _filled_in(written, known) for written in (*self._files, *self._params)}
        self.values = {written: self.taken.digest(self.resolved[written]) for written in self._files}
        self.values |= {written: _json(_look_up(self.resolved[written], known)) for written in self._params}
        self.outs = [_filled_in(out if isinstance(out, str) else next(iter(out)), known) for out in entry["outs"]]

    @property
    def files(self) -> dict[str, Path]:
        """What a worker on another machine needs: all code, and the data that dvc.yaml lists -> where it is here."""
        paths = [*snapshot.CODE, *(self.resolved[written] for written in self._files)]
        return {path: snapshot.located(path) for path in paths if not Path(path).is_absolute()}

    def scratch(self, narrowed: Mapping[str, object] | None = None) -> AbstractContextManager[Parts]:
        """The parts that belong to this fingerprint.

        Args:
            narrowed: dep or param as the pipeline file writes it -> all of it that the parts depend on, or that their
                names do not say; JSON-serialisable, None for nothing.

        Raises:
            ValueError: the file does not list one of them for this stage.
            UserError: see `pipeline.storage.scratch.scratch`.
        """
        narrowed = narrowed or {}
        unlisted = narrowed.keys() - self.values.keys()
        if unlisted:
            raise ValueError(f"{self.title} cannot narrow {sorted(unlisted)}: dvc.yaml does not list it for this stage")
        values = self.values | {written: _json(value) for written, value in narrowed.items()}
        return scratch(self.title, {**values, "environment": environment(self.model.device)}, self.refuse_changes)

    def refuse_changes(self, settings: Settings | None = None) -> None:
        """Refuse results that were made while what they depend on changed.

        Args:
            settings: those of now; None leaves out params, which a stage reads once.

        Raises:
            UserError: a dep is not what it was when the stage started, or a param has another value.
        """
        changed = [self.resolved[written] for written in self._files if self.taken.changed(self.resolved[written])]
        if settings is not None:
            names = [(written, self.resolved[written]) for written in self._params]
            changed += [name for written, name in names if _json_or_none(name, settings) != self.values[written]]
        if changed:
            raise UserError(
                "Code, data and settings must stay as they are while a stage runs",
                found=f"changed meanwhile: {', '.join(changed)}; results that belong to neither are thrown away",
                where=self.title,
                remedy="run `dvc repro` again; parts that were finished before are used where they still hold",
            )


def entry_of(stage: str) -> dict[str, Any]:
    """A stage as its pipeline file writes it.

    Raises:
        UserError: no file has it.
    """
    stages: dict[str, Any] = {}
    for file in PIPELINES:
        stages |= cast(Any, parse(snapshot.ROOT / file))["stages"]
    if stage not in stages:
        raise unknown("stage", stage, stages, " and ".join(PIPELINES))
    return stages[stage]


def _filled_in(written: str, known: Mapping[str, Any]) -> str:
    return _TEMPLATE.sub(lambda match: str(_look_up(match[1], known)), written)


def _look_up(path: str, known: Mapping[str, Any]) -> Any:
    """The value at `section.key`, in mappings and settings."""
    value: Any = known
    for key in path.split("."):
        value = value[key] if isinstance(value, Mapping) else getattr(value, key)
    return value


def _json_or_none(path: str, settings: Settings) -> str | None:
    """The param as JSON; None where it is not there."""
    try:
        return _json(_look_up(path, vars(settings)))
    except (KeyError, AttributeError):
        return None


def _json(value: object) -> str:
    return json.dumps(value, default=vars, sort_keys=True)
