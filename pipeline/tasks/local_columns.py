"""The columns of a local file of samples: the layouts that a file may have, and checks of its values.

A file has one of the layouts below and, if it likes, the optional columns of `LABELS` and `split`; other columns are
not read. docs/tasks.md explains them. Checks run on whole columns (Arrow), so a file of a million rows is read in
seconds, and name the file, the row (from 0) and the column.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from pipeline.tasks.local_lines import NUMBER, TEXT, TEXTS, read_columns, refuse_other_formats
from wina_amp.errors import UserError
from wina_amp.names import SPLITS

pc: Any = pyarrow.compute  # its functions are made at import time, so type checkers see none of them

log = logging.getLogger(__name__)

SPLIT = "split"
LABELS = ("subject", "computation", "template", "shots")

_TEXT, _TEXTS, _NUMBER = pa.string(), pa.list_(pa.string()), pa.int64()
TYPES: dict[str, pa.DataType] = {
    "prompt": _TEXT, "choices": _TEXTS, "target": _NUMBER, "answer": _TEXT, "stop": _TEXTS, "max_tokens": _NUMBER,
    "text": _TEXT, "context": _TEXT, "instruction": _TEXT, "input": _TEXT, "output": _TEXT,
    SPLIT: _TEXT, "subject": _TEXT, "computation": _TEXT, "template": _TEXT, "shots": _NUMBER,
}  # fmt: skip
_NAMES = {_TEXT: TEXT, _TEXTS: TEXTS, _NUMBER: NUMBER}
_LIST_TESTS: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view,
    pa.types.is_large_list_view,
)  # fmt: skip


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
_NEAR = 0.85
"""Similarity of a column's name to a known one that makes it worth a word."""

_MAY_BE_BLANK = ("input", "output", "text", *LABELS)


def read(path: Path) -> tuple[Layout, pa.Table]:
    """The layout of a .jsonl or .parquet file, and its known columns, checked.

    Raises:
        UserError: unreadable file; columns of no layout; a value that is missing, of another type or out of range.
    """
    refuse_other_formats(path)
    table = _read_lines(path) if path.suffix == ".jsonl" else _read_parquet(path)
    layout = _layout(table, path)
    table = _filled(table, path)
    _check_values(table, path)
    return layout, table


def _read_lines(path: Path) -> pa.Table:
    columns, others = read_columns(path, {name: _NAMES[kind] for name, kind in TYPES.items()})
    _warn_of_near_names(others, path)
    table = {}
    for name, values in columns.items():
        try:
            table[name] = pa.array(values, TYPES[name])
        except UnicodeEncodeError as error:
            raise _not_utf8(values, name, path) from error
    return pa.table(table)


def _read_parquet(path: Path) -> pa.Table:
    try:
        names = pq.read_schema(path).names
        known = [name for name in TYPES if name in names]
        _warn_of_near_names(set(names) - TYPES.keys(), path)
        twice = [name for name in known if names.count(name) > 1]
        if twice:
            raise UserError("A file must have every column once", f"two of {twice[0]}", str(path), "rename one of them")
        table = pq.read_table(path, columns=known)
    except (pa.ArrowException, OSError) as error:
        raise UserError(
            "A .parquet file must be readable", (str(error).splitlines() or ["it is not"])[0], str(path), "make it anew"
        ) from error
    filled = [name for name in known if table[name].null_count < len(table) or not len(table)]
    return pa.table({name: _cast(table[name], name, path) for name in filled})


def _warn_of_near_names(names: Collection[str], path: Path) -> None:
    """Say which columns are not read although they may be meant to be: `max_token`, `Split`."""
    meant = {name: get_close_matches(name.strip().lower(), TYPES, 1, _NEAR) for name in names}
    near = [f"{name!r} (not {known[0]!r})" for name, known in sorted(meant.items()) if known]
    if near:
        log.warning("%s: columns that are not read: %s", path.name, ", ".join(near))


def _cast(values: pa.ChunkedArray, name: str, path: Path) -> pa.ChunkedArray:
    wanted = TYPES[name]
    try:
        if _kind(values.type) == _NAMES[wanted]:
            # Arrow's own cast of the view of a list ends too early.
            is_view = pa.types.is_list_view(values.type) or pa.types.is_large_list_view(values.type)
            values = pa.chunked_array([pa.array(values.to_pylist(), wanted)]) if is_view else values.cast(wanted)
            if wanted != _NUMBER:
                _check_utf8(values, name, path)
            return values
        got = str(values.type)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        got = f"{values.type} ({str(error).splitlines()[0]})"
    raise UserError(f"Column `{name}` must be {_NAMES[wanted]}", got, str(path), "convert the column")


def _check_utf8(values: pa.ChunkedArray, name: str, path: Path) -> None:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid as error:
        as_bytes = values.cast(pa.list_(pa.binary()) if TYPES[name] == _TEXTS else pa.binary()).to_pylist()
        raise _not_utf8(as_bytes, name, path) from error


def _not_utf8(values: Sequence[Any], name: str, path: Path) -> UserError:
    """The error for the first of the values, as bytes or with surrogates, that is no text in UTF-8."""

    def is_text(value: Any) -> bool:
        try:
            _ = value.decode() if isinstance(value, bytes) else value.encode() if isinstance(value, str) else b""
        except UnicodeError:
            return False
        return all(map(is_text, value)) if isinstance(value, list) else True

    row = next(number for number, value in enumerate(values) if not is_text(value))
    return _bad_value("be text in UTF-8", values[row], name, row, path)


def _kind(type_: pa.DataType) -> str:
    """The word of `_NAMES` for an Arrow type; its own name if there is none."""
    value = type_.value_type if pa.types.is_dictionary(type_) else type_
    if pa.types.is_string(value) or pa.types.is_large_string(value) or pa.types.is_string_view(value):
        return _NAMES[_TEXT]
    if pa.types.is_integer(value):
        return _NAMES[_NUMBER]
    is_list = any(test(value) for test in _LIST_TESTS)
    return f"a list of {_kind(value.value_type)}" if is_list else str(type_)


def _layout(table: pa.Table, path: Path) -> Layout:
    columns = set(table.column_names) - {SPLIT, *LABELS}
    for layout in LAYOUTS:
        if set(layout.needs) <= columns <= {*layout.needs, *layout.may_have}:
            return layout
    layouts = "; ".join(f"{', '.join(layout.needs)} ({layout.name})" for layout in LAYOUTS)
    known = ", ".join(name for name in TYPES if name in columns) or "none of them"
    remedy = "add or rename columns, or take some out; docs/tasks.md explains every layout"
    raise UserError(f"A file of samples must have the columns of one layout: {layouts}", known, str(path), remedy)


def _filled(table: pa.Table, path: Path) -> pa.Table:
    """No column has gaps but `input`, for which none is an empty text."""
    for name in table.column_names:
        values = table[name]
        if name == "input":
            table = table.set_column(table.column_names.index(name), name, pc.fill_null(values, ""))
            continue
        _refuse(pc.is_null(values), "be filled in every row", values, name, path)
        if TYPES[name] == _TEXT:
            _refuse(pc.match_substring(values, "\0"), "hold no NUL character", values, name, path)
        if TYPES[name] == _TEXT and name not in _MAY_BE_BLANK:
            _refuse(pc.equal(pc.utf8_trim_whitespace(values), ""), "not be blank", values, name, path)
    return table


def _check_values(table: pa.Table, path: Path) -> None:
    columns: Mapping[str, Any] = dict(zip(table.column_names, table.columns, strict=True))
    for name in ("choices", "stop"):
        if name in columns:
            _check_list(columns[name], name, path)
    if "target" in columns:
        number, target = pc.list_value_length(columns["choices"]), columns["target"]
        _refuse(pc.less(number, 2), "hold at least two choices", columns["choices"], "choices", path)
        is_outside = pc.or_(pc.less(target, 0), pc.greater_equal(target, number.cast(_NUMBER)))
        _refuse(is_outside, "be the index of the right choice, from 0", target, "target", path)
    for name, low in (("max_tokens", 1), ("shots", 0)):
        if name in columns:
            _refuse(pc.less(columns[name], low), f"be at least {low}", columns[name], name, path)
    if SPLIT in columns:
        is_known = pc.is_in(columns[SPLIT], value_set=pa.array(list(SPLITS)))
        _refuse(pc.invert(is_known), "be train or test", columns[SPLIT], SPLIT, path)


def _check_list(values: pa.ChunkedArray, name: str, path: Path) -> None:
    flat, parents = pc.list_flatten(values), pc.list_parent_indices(values)
    with_nul = parents.filter(pc.fill_null(pc.match_substring(flat, "\0"), False))
    if len(with_nul):
        row = cast(int, with_nul[0].as_py())
        raise _bad_value("hold no NUL character", values[row].as_py(), name, row, path)
    # A stop text may be a line break; a choice needs something to score.
    rows = parents.filter(
        pc.fill_null(pc.equal(pc.utf8_trim_whitespace(flat) if name == "choices" else flat, ""), True)
    )
    if len(rows):
        row = cast(int, rows[0].as_py())
        raise _bad_value("hold no empty text", values[row].as_py(), name, row, path)


def _refuse(is_bad: pa.ChunkedArray, rule: str, values: pa.ChunkedArray, name: str, path: Path) -> None:
    row = pc.index(is_bad, True).as_py()
    if row >= 0:
        raise _bad_value(rule, values[row].as_py(), name, row, path)


def _bad_value(rule: str, value: object, name: str, row: int, path: Path) -> UserError:
    found = repr(value)
    found = found if len(found) <= 200 else f"{found[:197]}..."
    return UserError(f"Column `{name}` must {rule}", found, f"{path}, row {row} (from 0)", "correct the row")
