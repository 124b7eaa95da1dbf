"""Which of our modules a module needs: its imports and theirs, read from the sources without importing anything.

Imports inside functions count, those for type checkers do not. What Python has loaded so far would not do: stages
import what runs a model late, or only in the processes that they start.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path


def needed(modules: Iterable[str], root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """Name -> file of these modules, of all that they import, directly or not, and of the packages around them.

    Args:
        modules: dotted names; those outside `packages` are ignored.
        root: the folder that the packages lie in.
        packages: top-level names of the packages that are followed.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        file = _file(name, root) if name.partition(".")[0] in packages else None
        if file is not None and name not in found:
            found[name] = file
            waiting += _imports(file)
            waiting.append(name.rpartition(".")[0])  # Python runs the `__init__` of a package before its modules
    return found


def _file(name: str, root: Path) -> Path | None:
    """The source of a module or package; None for what is neither, such as a name inside a module."""
    path = root.joinpath(*name.split("."))
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


@cache
def _imports(file: Path) -> tuple[str, ...]:
    return tuple(_names(ast.parse(file.read_bytes())))


def _names(node: ast.AST) -> Iterator[str]:
    """What is imported at or below a node. `from a import b` gives `a` and `a.b`: b may be a module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and _is_for_type_checkers(node.test):
        for other in node.orelse:
            yield from _names(other)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child)


def _is_for_type_checkers(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"
