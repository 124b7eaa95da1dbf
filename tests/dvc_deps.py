"""What dvc.yaml should list, computed from the code; also a command that writes it there.

    python -m tests.dvc_deps --print     the code deps of every stage
    python -m tests.dvc_deps --write     put them into dvc.yaml (and data/reference/dvc.yaml)

Code deps are the transitive imports of the stage's module inside this repository, found by grimp in milliseconds
without importing anything, plus the `__init__.py` of every package on the way (Python runs those, too) and the data
files that lie beside the modules, such as the report's template. Lazy imports inside functions count; imports for type
checkers do not. A stage that reads the embedded tasks also runs what the Python files beside their YAMLs import.

Params are the `settings.<section>[.<key>]` that the stage's file mentions.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "stages")
MAIN = "dvc.yaml"
PIPELINES = (MAIN, "data/reference/dvc.yaml")

TASKS = "${benchmark.include}"
EMBEDDED_TASKS = ROOT / "data" / "benchmark"

_CODE_LINE = re.compile(r"^\s+- (?:pipeline|stages)/\S+$")
_STAGE_LINE = re.compile(r"^  ([A-Za-z0-9_]+):\s*$")
_MODULE = re.compile(r"python -m (stages\.\w+)")


def stages(text: str) -> dict[str, dict[str, Any]]:
    """The stages of the text of a dvc.yaml as written; of a `foreach` stage its `do` block."""
    written = YAML(typ="safe").load(text)["stages"]
    return {name: stage.get("do", stage) for name, stage in written.items()}


def all_stages() -> dict[str, dict[str, Any]]:
    """The stages of every pipeline file that exists; the files' stage names must not clash."""
    texts = [path.read_text() for file in PIPELINES if (path := ROOT / file).is_file()]
    return {name: stage for text in texts for name, stage in stages(text).items()}


def module_of(stage: dict[str, Any]) -> str:
    """The module that a stage's command runs."""
    found = _MODULE.match(stage["cmd"])
    assert found, f"{stage['cmd']!r} does not run `python -m stages.X`"
    return found[1]


def listed_code(stage: dict[str, Any]) -> list[str]:
    """The deps of a stage that are code."""
    return [dep for dep in stage["deps"] if dep.startswith(PACKAGES)]


def code_of(stage: dict[str, Any]) -> tuple[str, ...]:
    """The files of ours that a stage runs: those of the library in order, the stage's own module last."""
    module = module_of(stage)
    roots = {module, *(_imports_of_tasks() if TASKS in stage["deps"] else ())}
    ours = {name for root in roots for name in _closure(root)}
    packages = {".".join(parts[:i]) for parts in (name.split(".") for name in ours) for i in range(1, len(parts))}
    files = {_file(name) for name in ours | packages}
    data = {path for file in files for path in _data_beside(ROOT / file)}
    own = _file(module)
    return (*sorted((files | data) - {own}), own)


def settings_used(module: str) -> set[str]:
    """`section` or `section.key` for every `settings.section[.key]` in the file of a stage."""
    tree = ast.parse((ROOT / _file(module)).read_text())
    inner: set[ast.AST] = set()
    used: set[str] = set()
    for node in ast.walk(tree):  # breadth first, so `settings.a.b` is met before the `settings.a` inside it
        if isinstance(node, ast.Attribute) and node not in inner:
            if _is_settings(node.value):
                used.add(node.attr)
            elif isinstance(node.value, ast.Attribute) and _is_settings(node.value.value):
                inner.add(node.value)
                used.add(f"{node.value.attr}.{node.attr}")
    return used


def refreshed(text: str) -> str:
    """The text of a dvc.yaml with the code deps of every stage replaced by what they should be."""
    return "\n".join(_refreshed_lines(text.splitlines(), stages(text))) + "\n"


def _refreshed_lines(lines: list[str], known: dict[str, dict[str, Any]]) -> Iterator[str]:
    wanted: tuple[str, ...] = ()
    block = False
    for line in lines:
        if (started := _STAGE_LINE.match(line)) and started[1] in known:
            wanted = code_of(known[started[1]])
        if not _CODE_LINE.match(line):
            block = False
            yield line
        elif not block:
            block = True
            indent = line[: line.index("-")]
            yield from (f"{indent}- {file}" for file in wanted)


@cache
def _closure(module: str) -> frozenset[str]:
    return frozenset({module, *_graph().find_upstream_modules(module)})


@cache
def _imports_of_tasks() -> frozenset[str]:
    found: set[str] = set()
    for file in EMBEDDED_TASKS.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    return frozenset(found & _graph().modules)


@cache
def _graph() -> grimp.ImportGraph:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _file(module: str) -> str:
    path = Path(*module.split("."))
    return str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))


def _data_beside(file: Path) -> set[str]:
    beside = (path for path in file.parent.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))
    return {str(path.relative_to(ROOT)) for path in beside}


def _is_settings(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "settings"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--print", action="store_true", help="print the code deps of every stage")
    action.add_argument("--write", action="store_true", help="write them into the pipeline files")
    if parser.parse_args().write:
        for path in (ROOT / file for file in PIPELINES if (ROOT / file).is_file()):
            path.write_text(refreshed(path.read_text()))
        return
    for name, stage in all_stages().items():
        sys.stdout.write(f"  {name}:\n" + "".join(f"      - {file}\n" for file in code_of(stage)))


if __name__ == "__main__":
    _main()
