"""The columns of a local file of samples: the layouts that a file may have, and checks of its values.

A file has one of the layouts below and, if it likes, the optional columns of `LABELS` and `split`; other columns are
not read. docs/tasks.md explains them. Files of both formats are checked value by value as Python has them (0.1 million
rows a second), so that a mistake has one message, which names the file, the row (from 0) and the column.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tasks.local_lines import read_columns, refuse_other_formats
from wina_amp.errors import UserError
from wina_amp.names import SPLITS

log = logging.getLogger(__name__)

Row = dict[str, Any]

SPLIT = "split"
LABELS = ("subject", "computation", "template", "shots")

_TEXT, _TEXTS, _NUMBER = "text", "a list of text", "a whole number"
"""What a value may be, in the words of messages."""
_FITS: dict[str, Callable[[Any], bool]] = {
    _TEXT: lambda value: isinstance(value, str),
    _TEXTS: lambda value: isinstance(value, list) and all(text is None or isinstance(text, str) for text in value),
    _NUMBER: lambda value: isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63,
}
KINDS = {
    "prompt": _TEXT, "choices": _TEXTS, "target": _NUMBER, "answer": _TEXT, "stop": _TEXTS, "max_tokens": _NUMBER,
    "text": _TEXT, "context": _TEXT, "instruction": _TEXT, "input": _TEXT, "output": _TEXT,
    SPLIT: _TEXT, "subject": _TEXT, "computation": _TEXT, "template": _TEXT, "shots": _NUMBER,
}  # fmt: skip
_LOWEST = {"max_tokens": 1, "shots": 0}
_MAY_BE_BLANK = ("input", "output", "text", *LABELS)
_NEAR = 0.85
"""Similarity of a column's name to a known one that makes it worth a word."""


@dataclass(frozen=True)
class Layout:
    """One way to write samples: the columns it needs, and those it may have besides labels and split."""

    name: str
    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()


LAYOUTS = (
    Layout("multiple choice", ("prompt", "choices", "target"), ("answer",)),
    Layout("generation", ("prompt", "answer"), ("stop", "max_tokens")),
    Layout("instruction", ("instruction", "output"), ("input",)),
    Layout("text behind a context", ("context", "text")),
    Layout("text", ("text",)),
)


def read(path: Path) -> tuple[str, list[Row]]:
    """The name of the layout of a .jsonl or .parquet file, and the known columns of every row, checked.

    Raises:
        UserError: unreadable file; columns of no layout; a value that is missing, of another type or out of range.
    """
    refuse_other_formats(path)
    columns, others = read_columns(path, KINDS) if path.suffix == ".jsonl" else _read_parquet(path)
    _warn_of_near_names(others, path)
    for name, values in columns.items():
        for row, value in enumerate(values):
            if rule := _broken_rule(name, value):
                raise _bad_value(rule, value, name, row, path)
    layout = _layout(columns, path)
    if "target" in columns:
        for row, (target, choices) in enumerate(zip(columns["target"], columns["choices"], strict=True)):
            if not 0 <= target < len(choices):
                raise _bad_value("be the index of the right choice, from 0", target, "target", row, path)
    if "input" in columns:
        columns["input"] = [text or "" for text in columns["input"]]
    return layout, [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _read_parquet(path: Path) -> tuple[dict[str, list[Any]], set[str]]:
    """As `read_columns` reads lines."""
    try:
        names = pq.read_schema(path).names
        known = [name for name in KINDS if name in names]
        twice = [name for name in known if names.count(name) > 1]
        if twice:
            raise UserError("A file must have every column once", f"two of {twice[0]}", str(path), "rename one of them")
        table = pq.read_table(path, columns=known)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "A .parquet file must be readable", (str(error).splitlines() or ["it is not"])[0], str(path), "make it anew"
        ) from error
    filled = [name for name in known if table[name].null_count < len(table) or not len(table)]
    return {name: _values(table[name], name, path) for name in filled}, set(names) - KINDS.keys()


def _values(column: pa.ChunkedArray, name: str, path: Path) -> list[Any]:
    values: list[Any] = []
    for row, value in enumerate(column):
        try:
            values.append(value.as_py())
        except UnicodeDecodeError as error:
            raise _bad_value("be text in UTF-8", error.object, name, row, path) from error
        except (ValueError, OverflowError) as error:  # a time that Python has not
            raise _bad_value(f"be {KINDS[name]}", error, name, row, path) from error
    return values


def _broken_rule(name: str, value: Any) -> str | None:
    """The rule that a value breaks, in words; None if none."""
    kind = KINDS[name]
    if value is None:
        return None if name == "input" else "be filled in every row"
    if not _FITS[kind](value):
        return f"be {kind}"
    if kind == _NUMBER:
        lowest = _LOWEST.get(name, value)
        return f"be at least {lowest}" if value < lowest else None
    texts = [text or "" for text in value] if kind == _TEXTS else [value]
    if not all(map(_is_utf8, texts)):
        return "be text in UTF-8"
    if any("\0" in text for text in texts):
        return "hold no NUL character"
    if name == "choices" and len(texts) < 2:
        return "hold at least two choices"
    # A stop text may be a line break; a choice needs something to score.
    if kind == _TEXTS and not all(text.strip() if name == "choices" else text for text in texts):
        return "hold no empty text"
    if kind == _TEXT and name not in _MAY_BE_BLANK and not value.strip():
        return "not be blank"
    return "be train or test" if name == SPLIT and value not in SPLITS else None


def _is_utf8(text: str) -> bool:
    """Not so of lone surrogates, which JSON can escape and which stand for bytes that could not be read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _warn_of_near_names(names: Collection[str], path: Path) -> None:
    """Say which columns are not read although they may be meant to be: `max_token`, `Split`."""
    meant = {name: get_close_matches(name.strip().lower(), KINDS, 1, _NEAR) for name in names}
    near = [f"{name!r} (not {known[0]!r})" for name, known in sorted(meant.items()) if known]
    if near:
        log.warning("%s: columns that are not read: %s", path.name, ", ".join(near))


def _layout(names: Collection[str], path: Path) -> str:
    columns = set(names) - {SPLIT, *LABELS}
    for layout in LAYOUTS:
        if set(layout.needs) <= columns <= {*layout.needs, *layout.may_have}:
            return layout.name
    layouts = "; ".join(f"{', '.join(layout.needs)} ({layout.name})" for layout in LAYOUTS)
    known = ", ".join(name for name in KINDS if name in columns) or "none of them"
    remedy = "add or rename columns, or take some out; docs/tasks.md explains every layout"
    raise UserError(f"A file of samples must have the columns of one layout: {layouts}", known, str(path), remedy)


def _bad_value(rule: str, value: object, name: str, row: int, path: Path) -> UserError:
    found = repr(value)
    found = found if len(found) <= 200 else f"{found[:197]}..."
    return UserError(f"Column `{name}` must {rule}", found, f"{path}, row {row} (from 0)", "correct the row")
