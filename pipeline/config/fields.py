"""Frozen dataclasses from plain mappings, every value checked.

A section of params.yaml is a dataclass whose fields are made with `setting(...)`: the description and the bounds stand
beside the name and the type, so the checker, its error messages and docs/params.md read the same facts. Every error
names the setting as `section.key`. What a set of settings must satisfy together is checked in
`pipeline/config/consistency.py`, not here.
"""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from wina_amp.errors import UserError, unknown

T = TypeVar("T")

_REMEDY = "correct it; docs/params.md explains every setting"
_KINDS: dict[object, str] = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    type(None): "null",
}


@dataclass(frozen=True)
class Rule:
    """What one setting means and may be. `low` and `high` are inclusive, `above` and `below` exclusive."""

    description: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | None = None

    @property
    def limits(self) -> str:
        """The bounds or choices in words; empty if there are none."""
        if self.choices is not None:
            return "one of " + ", ".join(self.choices)
        named = {"at least": self.low, "at most": self.high, "above": self.above, "below": self.below}
        return " and ".join(f"{words} {bound}" for words, bound in named.items() if bound is not None)

    def allows(self, number: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )


def setting(
    description: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Sequence[str] | None = None,
) -> Any:
    """A dataclass field with its `Rule`."""
    rule = Rule(description, low, high, above, below, None if choices is None else tuple(choices))
    return field(metadata={"rule": rule})


def build(cls: type[T], values: object, section: str, file: str) -> T:
    """Make the dataclass `cls` from the mapping `values`, which must have exactly its fields.

    Raises:
        UserError: not a mapping; missing or unknown keys (with the nearest known one); wrong type; out of bounds.
    """
    mapping = as_mapping(values, section, file)
    hints = get_type_hints(cls)
    known = fields(cast(Any, cls))
    for key in mapping:
        if key not in hints:
            raise unknown(f"setting in `{section}`", key, hints, f"`{section}` in {file}")
    missing = [item.name for item in known if item.name not in mapping]
    if missing:
        must = f"Section `{section}` must have the settings {', '.join(item.name for item in known)}"
        raise UserError(must, found=f"no {', '.join(missing)}", where=file, remedy=f"add it; {_REMEDY[12:]}")
    checked = {
        item.name: check(mapping[item.name], hints[item.name], item.metadata["rule"], f"{section}.{item.name}", file)
        for item in known
    }
    return cls(**checked)


def check(value: object, hint: Any, rule: Rule, name: str, file: str) -> Any:
    """`value` converted to the annotated type `hint` (lists to tuples, whole numbers to floats), or a `UserError`.

    A mapping is one of names to values of one type, and may be empty. A dataclass is a section of its own (`build`).
    """
    if get_origin(hint) is Mapping:
        named = as_mapping(value, name, file)
        return {key: check(entry, get_args(hint)[1], rule, f"{name}.{key}", file) for key, entry in named.items()}
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    sections = [option for option in options if is_dataclass(option)]
    if sections and not (value is None and type(None) in options):
        return build(cast(type[Any], sections[0]), value, name, file)
    lists = [option for option in options if get_origin(option) is tuple]
    if lists and not (value is None and type(None) in options):
        return _check_list(value, get_args(lists[0])[0], rule, name, file)
    if type(value) not in options and float in options and type(value) is int:
        value = float(value)
    if type(value) not in options:
        raise _refusal(f"be {' or '.join(_KINDS[option] for option in options)}", value, name, file)
    if isinstance(value, str) and rule.choices is not None and value not in rule.choices:
        raise unknown(f"setting `{name}`", value, rule.choices, f"`{name}` in {file}")
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not rule.allows(value):
        raise _refusal(f"be {_KINDS[type(value)]} {rule.limits}", value, name, file)
    return value


def as_mapping(values: object, section: str, file: str) -> Mapping[str, object]:
    """`values` if it is a mapping with text keys."""
    if not isinstance(values, Mapping) or not all(
        isinstance(key, str) for key in cast(Mapping[object, object], values)
    ):
        raise _refusal("be a section of `key: value` settings", values, section, file)
    return cast(Mapping[str, object], values)


def _check_list(value: object, hint: Any, rule: Rule, name: str, file: str) -> tuple[Any, ...]:
    if not isinstance(value, list) or not value:
        raise _refusal(f"be a list of {_KINDS[hint]} with at least one entry", value, name, file)
    entries = cast(list[object], value)
    checked = tuple(check(entry, hint, rule, f"{name}[{i}]", file) for i, entry in enumerate(entries))
    if len(set(checked)) < len(checked):
        twice = sorted({str(entry) for entry in checked if checked.count(entry) > 1})
        raise _refusal("name every entry once", f"{', '.join(twice)} repeated", name, file)
    return checked


def _refusal(rule: str, value: object, name: str, file: str) -> UserError:
    found = value if isinstance(value, str) and " " in value else repr(value)
    return UserError(f"`{name}` must {rule}", found=found, where=f"`{name}` in {file}", remedy=_REMEDY)
