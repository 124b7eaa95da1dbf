"""The page docs/api.md, from the docstrings of the public names of `wina_amp`.

A docstring is paragraphs, indented examples, and sections: `Args:`, `Attributes:` and `Raises:` list names, others
(`Returns:`, `Guarantee:`) are text.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import wina_amp

_LISTS = ("Args", "Attributes", "Raises")
_SECTION = re.compile(r"^([A-Z][a-z]+):(?: (.*))?$")
_ENTRY = re.compile(r"^    (\S[^:]*): (.*)$")
_WIDTH = 120
_MOST_IN_A_LINE = 100


def page() -> Iterator[str]:
    """The blocks of the page."""
    yield "# Python API"
    yield (
        "The public names of `wina_amp`, generated from their docstrings by `make docs`. Importing the package loads "
        "neither torch nor transformers; the first use of a name does. docs/usage.md shows them at work."
    )
    for name in wina_amp.__all__:
        yield from _described(name, getattr(wina_amp, name))


def _described(name: str, value: Any) -> Iterator[str]:
    """Signature and docstring; of a class those of its public methods, too."""
    yield f"## `{name}`"
    yield _fenced(_signature(name, value))
    yield from blocks(_doc(value))
    if inspect.isclass(value):
        for member, attribute in vars(value).items():
            if not member.startswith("_") and (attribute := _unwrapped(attribute)) is not None:
                yield f"### `{name}.{member}`"
                if callable(attribute):
                    yield _fenced(_signature(member, attribute))
                yield from blocks(_doc(attribute))


def blocks(doc: str) -> Iterator[str]:
    """A docstring as blocks of Markdown."""
    for part in _parts(doc):
        first, *rest = part.splitlines()
        section = _SECTION.match(first)
        if section is None:
            yield _fenced(textwrap.dedent(part)) if first.startswith("    ") else " ".join(part.split())
        elif section[1] in _LISTS:
            yield f"**{section[1]}**"
            yield "\n".join(_items(rest))
        else:
            text, *examples = "\n".join([section[2] or "", *rest]).split("\n\n")
            yield f"**{section[1]}:** {' '.join(text.split())}"
            yield from (_fenced(textwrap.dedent(example)) for example in examples)


def _parts(doc: str) -> Iterator[str]:
    """Sections whole, everything else by paragraph; an example may have blank lines."""
    part: list[str] = []
    for text in re.split(r"\n\s*\n|\n(?=[A-Z][a-z]+:(?: |\n))", doc):
        if part and text.startswith("    ") and (_SECTION.match(part[0].splitlines()[0]) or part[0].startswith("    ")):
            part.append(text)
            continue
        if part:
            yield "\n\n".join(part)
        part = [text]
    yield "\n\n".join(part)


def _items(lines: list[str]) -> Iterator[str]:
    """The entries of a list, wrapped."""
    entries: list[tuple[str, str]] = []
    for line in lines:
        entry = _ENTRY.match(line)
        if entry:
            entries.append((entry[1], entry[2]))
        elif line.strip():
            name, text = entries[-1]
            entries[-1] = (name, f"{text} {line.strip()}")
    for name, text in entries:
        yield textwrap.fill(f"- `{name}`: {text}", _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _signature(name: str, value: Callable[..., Any]) -> str:
    """How it is called, with one argument a line where it is long."""
    signature = inspect.signature(value)
    arrow = "" if inspect.isclass(value) else f" -> {signature.return_annotation}"
    arguments: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in arguments:
            arguments.append("*")
        kind = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
        default = "" if parameter.default is parameter.empty else f" = {_literal(parameter.default)}"
        arguments.append(f"{parameter.name}{kind}{default}")
    line = f"{name}({', '.join(arguments)}){arrow}"
    if len(line) <= _MOST_IN_A_LINE:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + f"){arrow}"


def _unwrapped(attribute: object) -> Any:
    """A method or property that has a docstring; None for anything else."""
    member: Any = attribute.__func__ if isinstance(attribute, classmethod) else attribute
    is_public = isinstance(member, property) or inspect.isfunction(member)
    return member if is_public and member.__doc__ else None


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _doc(value: object) -> str:
    return inspect.getdoc(value) or ""


def _fenced(text: str) -> str:
    return f"```python\n{text.strip(chr(10))}\n```"
