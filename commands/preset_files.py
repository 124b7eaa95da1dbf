"""Presets: settings that belong together, to be put into params.yaml.

A preset is a YAML file of the form of params.yaml with the settings it changes, and nothing else. Sections are merged
key by key, a list is replaced, so presets combine (a model's, then a published setting's). `null` leaves a profile set,
method or router out, whether there is one or not.

They are written into params.yaml rather than passed to `dvc exp run -S`: params.yaml then stays the one place that says
what was run, `dvc repro` resumes an interrupted run, and `git diff` shows the preset. The alternative keeps params.yaml
as it is only with `--temp`, where a crash throws the run's folder away; without it, it writes to params.yaml as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

from pipeline.config.params import PARAMS, Settings, parse
from pipeline.config.params import load as load_settings
from pipeline.config.validation import validated
from wina_amp.errors import UserError, unknown

FOLDER = Path("presets")

LEFT_OUT = ("profiles.", "methods.", "route.routers.", "route.benefit_routers.")
"""Sections whose entries have names of one's own: `null` removes one."""

_ONE_LINE = 10_000
"""Lists stay on one line: ruamel would leave spaces at the ends of the others."""


@dataclass(frozen=True)
class Change:
    """One setting that a preset changes; `before` is None where it adds one, `after` where it leaves one out."""

    name: str
    before: object
    after: object

    @property
    def leaves_out(self) -> bool:
        """Whether it takes an entry of a section of `LEFT_OUT` away."""
        return self.after is None and self.name.startswith(LEFT_OUT)


class _Representer(RoundTripRepresenter):
    """Writes `null`, where ruamel writes nothing."""


_Representer.add_representer(  # pyright: ignore[reportUnknownMemberType]
    type(None), lambda representer, _none: representer.represent_scalar("tag:yaml.org,2002:null", "null")
)


def names(folder: Path = FOLDER) -> list[str]:
    """The presets there are."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load(name: str, revision: str | None = None, model: str | None = None, folder: Path = FOLDER) -> dict[str, Any]:
    """The settings of a preset.

    Args:
        name: file name without `.yaml`.
        revision: commit of the hub checkpoint; becomes `model.revision`.
        model: a checkpoint instead of the preset's, if it has one: a folder, or a hub id with `revision`.
        folder: where presets are.

    Raises:
        UserError: unknown name; a checkpoint of the hub without commit, or a commit without checkpoint.
    """
    if name not in names(folder):
        raise unknown("preset", name, names(folder), f"{folder}/")
    file = folder / f"{name}.yaml"
    values = validated(dict[str, Any], parse(file), str(file))
    own = values.get("model") or {}
    path = model or own.get("path")
    if path is None and revision is None:
        return values
    if path is None:
        found = f"REVISION={revision} for a preset that sets none"
        raise _error("A revision belongs to a preset that sets `model.path`", found, file, "add MODEL=<hub id>")
    if revision is None and not Path(path).is_dir():
        raise _error(
            "A checkpoint must be a folder, or one of the hub with the commit that is to be studied",
            f"{path!r}, which is no folder, and no REVISION",
            file,
            f"add REVISION=<one of https://huggingface.co/{path}/commits/main>, or MODEL=<folder>",
        )
    return values | {"model": own | {"path": path, "revision": revision}}


def apply_all(presets: Iterable[Mapping[str, Any]], text: str) -> tuple[str, list[Change], Settings]:
    """A params.yaml with all presets in it, one after the other; what has changed, and the settings that it holds.

    Raises:
        UserError: settings that do not fit together.
    """
    changes: list[Change] = []
    for preset in presets:
        text, more = apply(preset, text)
        changes += more
    with TemporaryDirectory() as folder:
        candidate = Path(folder) / PARAMS
        candidate.write_text(text, encoding="utf-8")
        return text, changes, load_settings(candidate)


def apply(preset: Mapping[str, Any], text: str) -> tuple[str, list[Change]]:
    """A params.yaml with the preset in it, comments kept (but for those at an entry that goes), and what has changed.

    Args:
        preset: from `load`.
        text: the content of params.yaml.

    Guarantee: applying the same preset again changes nothing; without a change the text is returned as it is.
    """
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = _ONE_LINE, True
    yaml.Representer = _Representer
    params: Any = yaml.load(text)
    changes = list(_merge(params, preset, ""))
    if not changes:
        return text, []
    written = StringIO()
    yaml.dump(params, written)
    return written.getvalue(), changes


def _merge(into: Any, values: Mapping[str, Any], prefix: str) -> Iterator[Change]:
    for key, value in values.items():
        name, before = f"{prefix}{key}", into.get(key)
        if value is None and prefix in LEFT_OUT:
            if into.pop(key, None) is not None:
                yield Change(name, before, None)
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _merge(before, cast(Mapping[str, Any], value), f"{name}.")
        elif key not in into or not _is_same(before, value):
            into[key] = _in_line(value)
            yield Change(name, before, value)


def _in_line(value: object) -> object:
    """A list or section as it is written in params.yaml, `[a, b]` and `{a: b}`."""
    if not isinstance(value, (list, dict)):
        return value
    made: Any = CommentedSeq(cast(list[object], value)) if isinstance(value, list) else CommentedMap(value)
    made.fa.set_flow_style()
    return made


def _is_same(before: object, value: object) -> bool:
    """1, 1.0 and true are equal to Python, but not to the settings."""
    kinds = (isinstance(before, kind) == isinstance(value, kind) for kind in (float, bool))
    return before == value and all(kinds)


def _error(must: str, found: str, file: Path, remedy: str) -> UserError:
    return UserError(must, found=found, where=str(file), remedy=remedy)
