"""The code that dvc.yaml should list for every stage, computed from the imports.

    python -m tests.dvc.deps     print it, stage by stage

DVC does not follow imports, so every stage lists the packages that its module needs, directly or through others: the
innermost folder around each module, and modules that lie at the root of `wina_amp`, `pipeline` or `stages` by
themselves. grimp finds the imports in milliseconds without importing anything; imports inside functions count, those
for type checkers do not. An `__init__.py` that holds a docstring alone decides nothing and need not be listed. A stage
that reads the embedded tasks also runs what the Python files beside their YAMLs import.

Params are the `settings.<section>[.<key>]` that the stage's file mentions, or a file of its own beside it.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import grimp
from ruamel.yaml import YAML

from pipeline.config.methods import EvaluateSettings
from pipeline.config.params import Settings

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("wina_amp", "pipeline", "stages", "commands")
MAIN = "dvc.yaml"
PIPELINES = (MAIN, "data/reference/dvc.yaml")

TASKS = "${benchmark.include}"
EMBEDDED_TASKS = ROOT / "data" / "benchmark"

_MODULE = re.compile(r"python -m stages (\w+)")
_START = "stages.__main__"

_SECTIONS = frozenset(Settings.__dataclass_fields__)
_PROPERTIES = {"evaluate": EvaluateSettings}
"""Sections some of whose attributes are no settings, but properties made of some."""


def stages(text: str) -> dict[str, dict[str, Any]]:
    """The stages of the text of a dvc.yaml as written; of a `foreach` stage its `do` block."""
    written = YAML(typ="safe").load(text)["stages"]
    return {name: stage.get("do", stage) for name, stage in written.items()}


def all_stages() -> dict[str, dict[str, Any]]:
    """The stages of every pipeline file; the files' stage names must not clash."""
    return {name: stage for file in PIPELINES for name, stage in stages((ROOT / file).read_text()).items()}


def module_of(stage: dict[str, Any]) -> str:
    """The module that a stage's command runs."""
    match = _MODULE.match(stage["cmd"])
    assert match, f"{stage['cmd']!r} does not run `python -m stages X`"
    return f"stages.{match[1]}"


def listed_code(stage: dict[str, Any]) -> list[str]:
    """The deps of a stage that are code."""
    return [dep for dep in stage["deps"] if dep.partition("/")[0] in PACKAGES]


def needed_code(stage: dict[str, Any]) -> dict[str, list[str]]:
    """The packages, and modules at a root, that a stage should list -> the modules of each that it needs."""
    roots = {_START, module_of(stage), *(_imports_of_tasks() if TASKS in stage["deps"] else ())}
    needed: dict[str, list[str]] = {}
    for module in sorted({name for root in roots for name in _closure(root)}):
        file = _file(module)
        if not _is_docstring_alone(file):
            needed.setdefault(_unit(file), []).append(module)
    return needed


def covers(dep: str, unit: str) -> bool:
    """Whether a listed dep is, or contains, a package or module."""
    return unit == dep or unit.startswith(f"{dep}/")


def settings_used(module: str) -> set[str]:
    """`section` or `section.key` for every `settings.section[.key]` in the file of a stage and in those beside it that
    it imports; every section where one turns the settings into plain values."""
    beside = {name for name in _closure(module) if name.count(".") == 1 and name.startswith("stages.")}
    named = {setting for name in beside - {"stages.run", _START} for setting in _settings_in(name)}
    return {setting for name in named for setting in _made_of(name)}


def _made_of(name: str) -> set[str]:
    """The settings that a property reads; a setting itself."""
    section, _, key = name.partition(".")
    attribute = getattr(_PROPERTIES.get(section), key, None) if key else None
    if not isinstance(attribute, property):
        return {name}
    assert attribute.fget
    return {f"{section}.{used}" for used in re.findall(r"self\.(\w+)", inspect.getsource(attribute.fget))}


def _settings_in(module: str) -> set[str]:
    tree = ast.parse((ROOT / _file(module)).read_text())
    inner: set[ast.AST] = set()
    used: set[str] = set()
    plain = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node) == "asdict(settings)"]
    used |= _SECTIONS if plain else set()
    for node in ast.walk(tree):  # breadth first, so `settings.a.b` is met before the `settings.a` inside it
        if isinstance(node, ast.Attribute) and node not in inner:
            if _is_settings(node.value):
                used.add(node.attr)
            elif isinstance(node.value, ast.Attribute) and _is_settings(node.value.value):
                inner.add(node.value)
                used.add(f"{node.value.attr}.{node.attr}")
    return used


@cache
def graph() -> grimp.ImportGraph:
    """Who imports whom in our packages."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def _unit(file: str) -> str:
    folder = Path(file).parent
    return file if len(folder.parts) == 1 else str(folder)


@cache
def _closure(module: str) -> frozenset[str]:
    return frozenset({module, *graph().find_upstream_modules(module)})


@cache
def _imports_of_tasks() -> frozenset[str]:
    names: set[str] = set()
    for file in EMBEDDED_TASKS.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
    return frozenset(names & graph().modules)


def _file(module: str) -> str:
    path = Path(*module.split("."))
    return str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))


def _is_docstring_alone(file: str) -> bool:
    body = ast.parse((ROOT / file).read_text()).body
    return file.endswith("__init__.py") and all(isinstance(node, ast.Expr) for node in body)


def _is_settings(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "settings"


if __name__ == "__main__":
    for name, stage in all_stages().items():
        sys.stdout.write(f"{name}: {', '.join(needed_code(stage))}\n")
