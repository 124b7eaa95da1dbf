"""Types of settings that pydantic lacks: names from a list, lists without repetition, fractions, dates.

Numbers, text and truth values are pydantic's strict ones: YAML's `1` is no text, `true` no number, `2.0` no count.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StrictFloat,
    StrictStr,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

T = TypeVar("T")

SECTION = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of every section: exactly its settings, finite numbers."""

UNKNOWN, REPEATED, LONG = "unknown_name", "repeated", "long_number"
"""Types of the errors raised here, beside pydantic's own."""

NAME_PATTERN = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"


class OneOf:
    """The text must be one of some names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"enum": list(self.names)}

    def _check(self, name: str) -> str:
        if name not in self.names:
            raise PydanticCustomError(UNKNOWN, "unknown name", {"known": self.names})
        return name


def _each_once(entries: tuple[T, ...]) -> tuple[T, ...]:
    repeated = sorted({str(entry) for entry in entries if entries.count(entry) > 1})
    if repeated:
        raise PydanticCustomError(REPEATED, "repeated entries", {"entries": ", ".join(repeated)})
    return entries


def _few_digits(number: float) -> float:
    if number != float(f"{number:g}"):
        raise PydanticCustomError(LONG, "more digits than names of parts and tables show")
    return number


def _iso_date(text: str) -> str:
    if text != date.fromisoformat(text).isoformat():
        raise ValueError(text)
    return text


Name = Annotated[StrictStr, StringConstraints(pattern=NAME_PATTERN)]
"""A name of the user's choice, which becomes part of file names and of DVC stage names."""
Line = Annotated[StrictStr, StringConstraints(pattern="^[^\\x00-\\x1f\\x7f]+$")]
"""A path, or a name that others have chosen."""
Fraction = Annotated[StrictFloat, Field(gt=0, lt=1), AfterValidator(_few_digits)]
"""Between 0 and 1, and what `{:g}` shows of it: two targets that look the same are the same."""
Day = Annotated[StrictStr, AfterValidator(_iso_date), WithJsonSchema({"type": "string", "format": "date"})]
"""A date as text: YAML's own dates are another type to every reader of the file."""
Many = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]
"""A list with at least one entry, each once."""
