"""Plain values -> frozen pydantic dataclasses; what is wrong with them -> one `UserError`.

Types, bounds and descriptions stand at the fields (`pipeline/config/inputs.py` and its neighbours). `Rule` puts them
into words, from the JSON schema that pydantic makes of them, for the errors here and for docs/params.md. What settings
must satisfy together is checked in `pipeline/config/consistency.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from pipeline.config.kinds import LONG, REPEATED, UNKNOWN
from wina_amp.errors import UserError, unknown

T = TypeVar("T")
Path = tuple[int | str, ...]
Node = Mapping[str, Any]
"""A part of a JSON schema."""

_UNEXPECTED, _MISSING, _KEY = "unexpected_keyword_argument", "missing", "[key]"
_NOT_A_SECTION = ("dataclass_type", "dict_type", "invalid_key")
_EXPLAINED = "docs/params.md explains every setting"
_TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "object": "a section",
}
MOST_SHOWN = 200
"""Characters of a wrong value that a message shows."""
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True)
class Rule:
    """What the value of a setting may be, in words: its type, and its bounds or those of a list's entries."""

    type: str
    limits: str


class Schema:
    """The JSON schema of a settings file."""

    def __init__(self, cls: type[Any]) -> None:
        self.root: Node = TypeAdapter(cls).json_schema()

    def at(self, path: Path) -> tuple[Node, Path]:
        """The part that describes the value at a path, and the path without what pydantic adds to it in a union."""
        node = self.root
        for depth, part in enumerate(path):
            outer = self.resolved(node)
            inner = outer.get("properties", {}).get(part) or self.entry(outer)
            if not inner:
                return node, path[:depth]
            node = inner
        return node, path

    def entry(self, node: Node) -> Node:
        """What describes every entry of a list or of a section with names of the user's choice; empty elsewhere."""
        by_name = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        return next(filter(None, [*by_name, node.get("items"), *node.get("prefixItems", ())]), {})

    def resolved(self, node: Node) -> Node:
        """A node with its reference followed and without `null` where there is something else."""
        options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
        if len(options) == 1:
            return self.resolved(options[0])
        return self.root["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node

    def rule(self, node: Node) -> Rule:
        """The words for a node."""
        if "anyOf" in node:
            rules = [self.rule(option) for option in node["anyOf"]]
            limits = [rule.limits for rule in rules if rule.limits]
            return Rule(" or ".join(rule.type for rule in rules), ", or ".join(limits))
        if node.get("type") == "array":
            entries = self.rule(self.entry(node))
            return Rule(f"a list of {entries.type.removeprefix('a ').replace('number', 'numbers')}", entries.limits)
        if "enum" in node:
            return Rule("text", "one of " + ", ".join(node["enum"]))
        if node.get("format") == "date":
            return Rule("text", 'a date in quotes: "2024-07-26"')
        limits = [f"{word} {node[key]:.10g}" for key, word in _BOUNDS.items() if key in node]
        return Rule(_TYPES[self.resolved(node)["type"]], " and ".join(limits))


def validated(cls: type[T], values: object, file: str) -> T:
    """The dataclass `cls`, made from the content of a settings file.

    Raises:
        UserError: missing or unknown keys (with the nearest known one), wrong type, out of bounds; names the setting.
    """
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        raise _user_error(Schema(cls), error.errors(include_url=False), file) from None


def _user_error(schema: Schema, errors: Sequence[ErrorDetails], file: str) -> UserError:
    """The first error; before all others an unknown key, whose right spelling may be what is missing."""
    error = next((error for error in errors if error["type"] == _UNEXPECTED), errors[0])
    kind, path, context = error["type"], error["loc"], error.get("ctx", {})
    if path and path[-1] == _KEY:
        return _wrong_key(_name(path[:-2]), error, file)
    if kind == _UNEXPECTED or (kind == _MISSING and isinstance(path[-1], str)):
        return _wrong_settings(schema, error, errors, file)
    node, path = schema.at(path[:-1] if kind in (_MISSING, "invalid_key") else path)
    name, found = _name(path) or "params", _short(error["input"])
    where = f"`{name}` in {file}"
    if kind == UNKNOWN:
        return unknown(f"setting `{name}`", error["input"], context["known"], where)
    if kind == REPEATED:
        must, found = "name every entry once", f"{context['entries']} repeated"
    elif kind == "string_pattern_mismatch":
        must = "be one line of text, and not empty"
    elif kind == LONG:
        must = "have at most six significant digits"
    elif kind in _NOT_A_SECTION:
        must = "be a section of `key: value` settings"
    else:
        must = f"be {_expected(schema, node)}"
    how = "put it in quotes" if kind == "string_type" else "correct it"
    return UserError(f"`{name}` must {must}", found=found, where=where, remedy=f"{how}; {_EXPLAINED}")


def _wrong_settings(schema: Schema, error: ErrorDetails, errors: Sequence[ErrorDetails], file: str) -> UserError:
    """A section with an unknown or without a known setting."""
    path, name = error["loc"][:-1], _name(error["loc"][:-1])
    known = schema.resolved(schema.at(path)[0])["properties"]
    where = f"`{name}` in {file}" if name else file
    if error["type"] == _UNEXPECTED:
        return unknown(f"setting in `{name}`" if name else "section", error["loc"][-1], known, where)
    missing = [str(other["loc"][-1]) for other in errors if other["type"] == _MISSING and other["loc"][:-1] == path]
    must = f"Section `{name}` must have the settings" if name else f"{file} must have the sections"
    found = f"no {', '.join(missing)}"
    return UserError(f"{must} {', '.join(known)}", found=found, where=where, remedy=f"add it; {_EXPLAINED}")


def _wrong_key(section: str, error: ErrorDetails, file: str) -> UserError:
    """A name of the user's choice that cannot be one."""
    where = f"`{section}` in {file}"
    if error["type"] == UNKNOWN:
        return unknown(f"name in `{section}`", error["input"], error.get("ctx", {})["known"], where)
    must = f"Names in `{section}` must be letters, digits, - and _ (at most 64, a letter or digit first)"
    remedy = "choose another name, or put it in quotes if it is a number"
    return UserError(must, found=_short(error["input"]), where=where, remedy=remedy)


def _short(value: object) -> str:
    """A value as it may be shown: its beginning, if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        return f"{type(value).__name__} that is too deep or too long to show"
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}... ({len(text)} characters)"


def _expected(schema: Schema, node: Node) -> str:
    """All of what a value may be, the length of a list included."""
    if "anyOf" in node:
        return " or ".join(_expected(schema, option) for option in node["anyOf"])
    if "enum" in node:
        return schema.rule(node).limits
    rule, least, most = schema.rule(node), node.get("minItems", 0), node.get("maxItems", 0)
    words = [rule.type, rule.limits]
    if least and least == most:
        words.append(f"with {_entries(least)}")
    elif least or most:
        words.append(f"with at least {_entries(least)}" if least else f"with at most {_entries(most)}")
    return " ".join(filter(None, words))


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"


def _name(path: Path) -> str:
    """`evaluate.targets[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
