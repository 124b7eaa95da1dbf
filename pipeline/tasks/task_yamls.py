"""Why a YAML in the folder of tasks is none: lm-eval passes over what it cannot read, and knows no such name then."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from lm_eval.tasks._index import TaskIndex
from yaml import YAMLError

from wina_amp.errors import UserError


def refuse_broken(folder: Path, names: Collection[str] | None = None) -> None:
    """Refuse the first YAML in the folder that has one of the names and is another task or none; without names, the
    first that cannot be read.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    for file, problem, is_unreadable in _problems(folder):
        if is_unreadable if names is None else file.stem in names:
            raise UserError(
                "The YAML of a task must be readable, and its `task` (or `group`) the name that `benchmark.tasks` has",
                found=problem,
                where=str(file),
                remedy="correct the file, or the name in `benchmark.tasks`",
            )


def _problems(folder: Path) -> Iterator[tuple[Path, str, bool]]:
    """The file, what keeps it from being the task of its name, and whether it cannot be read at all."""
    for file in sorted(path for path in folder.rglob("*.yaml") if path.is_file()):
        try:
            entry = TaskIndex.entry_from_path(file)
        except (YAMLError, OSError, UnicodeDecodeError, RecursionError) as error:
            yield file, " ".join(str(error).split()) or type(error).__name__, True
        except ValueError as error:
            yield file, "neither `task` nor `group`" if "config shape" in str(error) else str(error), False
        else:
            name = entry.name if entry is not None else None
            if not isinstance(name, str):
                yield file, f"`task: {name}`, which is no text", True
            elif name != file.stem:
                yield file, f"`task: {name}`", False
