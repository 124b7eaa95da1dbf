"""The data paths of dvc.yaml and those of `stages/inputs/paths.py` are the same ones."""

from __future__ import annotations

import inspect
import re
from fnmatch import fnmatch
from pathlib import PurePath

from stages.inputs import paths
from tests.dvc import deps

PATHS = {
    *(value for name, value in vars(paths).items() if name.isupper()),
    *(path("*") for _, path in inspect.getmembers(paths, inspect.isbuiltin)),
} - {*deps.PIPELINES}
"""All paths of the module, with `*` for names."""


def _in_dvc_yaml() -> set[str]:
    """All paths of data in both pipeline files, with `*` for what DVC fills in."""
    listed: set[str] = set()
    for stage in deps.all_stages().values():
        for entry in (*stage["deps"], *stage["outs"], *(x for x in stage.get("params", []) if isinstance(x, dict))):
            listed.update([entry] if isinstance(entry, str) else entry)
    return {re.sub(r"\$\{[^}]*\}", "*", path) for path in listed if path.partition("/")[0] in ("data", deps.TASKS)}


def test_every_data_path_of_dvc_yaml_stands_in_paths():
    unknown = {path for path in _in_dvc_yaml() if path != "*" and not any(_covers(known, path) for known in PATHS)}
    assert not unknown, f"stages/inputs/paths.py does not have {sorted(unknown)}"


def test_every_path_of_paths_stands_in_dvc_yaml():
    listed = _in_dvc_yaml()
    unused = {path for path in PATHS if not any(_covers(path, other) for other in listed)}
    assert not unused, f"dvc.yaml does not have {sorted(unused)}"


def test_a_path_stands_in_paths_and_nowhere_else():
    literal = re.compile(r"""["']data/\w[^"']*["'](?!:)""")  # keys of fingerprints are those of dvc.yaml
    files = [*deps.ROOT.glob("stages/**/*.py"), *deps.ROOT.glob("commands/*.py"), *deps.ROOT.glob("benchmarks/*.py")]
    own = {"compare.py", "confirm.py", "tasks.py"}  # what they write, no stage reads
    others = [file for file in files if file.name not in {"paths.py", *own} and literal.search(file.read_text())]
    assert others == []


def _covers(known: str, path: str) -> bool:
    """Whether `path` is, lies in, or is the folder of `known`."""
    return (
        fnmatch(path, known) or PurePath(known) in PurePath(path).parents or PurePath(path) in PurePath(known).parents
    )
