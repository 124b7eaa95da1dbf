"""Typed tables: the only reader and writer of Parquet.

A `Table` is a list of documented columns with types, bounds, allowed values and a key. It is checked when it is
written, so that a stage cannot hand on nonsense, and again when it is read, so that a file damaged, hand-edited or made
by other code is refused at the door with a message that counts. All checks run on whole Arrow columns.

Bytes are deterministic: rows are sorted by the key, columns stand in schema order, and no clock, path or pandas
metadata is stored. Columns are never converted silently between kinds (text is not parsed to numbers, a fraction is not
cut to an integer); integers may be stored narrower if the value survives, floats are rounded to the declared width.

Missing values: a float column marked `nullable` holds NaN for "none"; any other null or NaN is refused, in lists too.
"""

from __future__ import annotations

import io
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from wina_amp.atomic import replacing
from wina_amp.errors import RESTORE, UserError

pc: Any = pyarrow.compute  # its functions are made at import time, so type checkers see none of them

EXAMPLES = 3
ROWS_PER_GROUP = 65_536
ROWS_AT_ONCE = 1024

_BUFFER = 1 << 16

_ZSTD_LEVEL = 9  # histograms become 2% smaller than at the default 3, for 0.02 ms of CPU time a row


@dataclass(frozen=True)
class Column:
    """One documented column. `low` and `high` are inclusive; in list columns the rules apply to the elements."""

    name: str
    type: str
    description: str
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] | None = None
    nullable: bool = False

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type: a scalar name, or `list<scalar>`."""
        if self.type.startswith("list<") and self.type.endswith(">"):
            return pa.list_(pa.type_for_alias(self.type[5:-1]))
        return pa.type_for_alias(self.type)


@dataclass(frozen=True)
class Table:
    """A named table whose rows are identified by `key`."""

    name: str
    description: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.schema([pa.field(column.name, column.arrow_type) for column in self.columns])

    def write(self, rows: pd.DataFrame | pa.Table, path: str | os.PathLike[str]) -> None:
        """Check `rows`, sort them by the key and write them to `path` atomically (zstd Parquet, deterministic bytes).

        Raises:
            UserError: naming table, path, column, how many rows break the rule, and examples; nothing is written then.
        """
        ordered = self._ordered(rows, str(path))
        with replacing(path) as temporary:
            self._save(ordered, temporary)

    def to_bytes(self, rows: pd.DataFrame | pa.Table) -> bytes:
        """The content of the file that `write` makes of these rows."""
        file = io.BytesIO()
        self._save(self._ordered(rows, f"rows of {self.name}"), file)
        return file.getvalue()

    def _ordered(self, rows: pd.DataFrame | pa.Table, where: str) -> pa.Table:
        table = self._conform(rows, where)
        self._check(table, where)
        return table.sort_by([(name, "ascending") for name in self.key])

    def _save(self, table: pa.Table, to: Path | io.BytesIO) -> None:
        numbers = self._number_lists()
        others = [column.name for column in self.columns if f"{column.name}.list.element" not in numbers]
        pq.write_table(
            table,
            to,
            compression="zstd",
            compression_level=_ZSTD_LEVEL,
            row_group_size=ROWS_PER_GROUP,
            write_page_checksum=True,
            use_dictionary=cast(Any, others),  # or a list of columns, which its stub does not know
            column_encoding=dict.fromkeys(numbers, "BYTE_STREAM_SPLIT"),
        )

    def _number_lists(self) -> list[str]:
        """Parquet's names of the columns with the elements of lists of numbers. Hardly one repeats, so that a
        dictionary would only add to them; their bytes taken apart by position compress better (both together:
        histograms to 0.6 of their size)."""
        kinds = {column.name: _kind(column.arrow_type) for column in self.columns}
        return [f"{name}.list.element" for name, kind in kinds.items() if kind in ("list of integer", "list of float")]

    def read(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The checked rows at `path`, in key order; list columns hold one numpy array per row.

        With `columns` only those are loaded and checked; uniqueness is checked when they include the whole key.
        """
        return self.read_arrow(path, columns).to_pandas()

    def read_arrow(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
        """Like `read`, as an Arrow table (for columns that are better left flat, such as histograms)."""
        with self._opened(Path(path)) as file:
            table = file.read(columns=columns)
        self._check(table, str(path))
        return table

    def stream(self, path: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Like `read_arrow`, `ROWS_AT_ONCE` rows at a time: memory does not depend on how many there are.

        Raises:
            UserError: see `read_arrow`; rows are not in the order of the key, where `columns` include it.
        """
        last: tuple[Any, ...] | None = None
        with self._opened(Path(path)) as file:
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=columns):
                table = pa.Table.from_batches([batch])
                self._check(table, str(path))
                if set(self.key) <= set(table.column_names):
                    last = self._check_order(table.select(list(self.key)), last, str(path))
                yield table

    def parts(self, folder: str | os.PathLike[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """The parts of a table stored as a folder of `*.parquet`, in name order, each checked, one in memory at a time.

        Uniqueness of the key is checked within each part here, and over all parts by `read_parts`.
        """
        for path in self._part_paths(Path(folder)):
            yield self.read_arrow(path, columns)

    def read_parts(self, folder: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
        """All parts of `folder` as one checked frame."""
        table = pa.concat_tables(list(self.parts(folder, columns)))
        self._check_key(table, str(folder))
        return table.to_pandas()

    def _part_paths(self, folder: Path) -> list[Path]:
        paths = sorted(folder.glob("*.parquet"))
        if not paths:
            found = "an empty folder" if folder.is_dir() else "nothing"
            raise self._error("must be a folder of Parquet parts", found, str(folder))
        return paths

    @contextmanager
    def _opened(self, path: Path) -> Generator[pq.ParquetFile]:
        """The file at `path`; what it holds is read a buffer at a time, not a whole column of a row group."""
        if not path.is_file():
            raise self._error("must exist", "no such file", str(path))
        try:
            # One file at a time through ParquetFile: pq.read_table would read a folder or guess partitions from names.
            with pq.ParquetFile(path, page_checksum_verification=True, buffer_size=_BUFFER) as file:
                self._check_schema(file.schema_arrow, str(path))
                yield file
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: bytes of a name that are no text
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._error("must be a readable Parquet file", f"a damaged file ({reason})", str(path)) from error

    def _check_schema(self, schema: pa.Schema, where: str) -> None:
        self._check_names(schema.names, where)
        for column, field in zip(self.columns, schema, strict=True):
            if not _same_type(field.type, column.arrow_type):
                raise self._error(f"column {column.name!r} must have type {column.type}", str(field.type), where)

    def _check_names(self, have: list[str], where: str, *, is_ordered: bool = True) -> None:
        want = [column.name for column in self.columns]
        if have != want if is_ordered else sorted(have) != sorted(want):
            missing = [name for name in want if name not in have]
            extra = [name for name in have if name not in want]
            found = f"missing {missing}, unexpected {extra}" if missing or extra else f"the order {have}"
            raise self._error(f"must have the columns {', '.join(want)}", found, where)

    def _conform(self, rows: pd.DataFrame | pa.Table, where: str) -> pa.Table:
        names = rows.column_names if isinstance(rows, pa.Table) else [str(name) for name in rows.columns]
        self._check_names([*names], where, is_ordered=False)
        arrays = [self._convert(rows[column.name], column, where) for column in self.columns]
        return pa.Table.from_arrays(arrays, schema=self.arrow_schema)

    def _convert(self, values: pd.Series | pa.ChunkedArray, column: Column, where: str) -> pa.ChunkedArray:
        try:
            array = values if isinstance(values, pa.ChunkedArray) else _from_pandas(values, column.arrow_type)
            kind, wanted = _kind(array.type), _kind(column.arrow_type)
            if kind != wanted and kind != "null" and (kind, wanted) != ("integer", "float"):
                raise self._error(f"column {column.name!r} must have type {column.type}", str(array.type), where)
            if column.nullable and wanted == "float":
                array = pc.fill_null(array.cast(column.arrow_type), float("nan"))
            return array.cast(column.arrow_type)
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise self._error(f"column {column.name!r} must have type {column.type}", reason, where) from error

    def _check(self, table: pa.Table, where: str) -> None:
        for column in self.columns:
            if column.name in table.column_names:
                self._check_column(table[column.name], column, where)
        self._check_key(table, where)

    def _check_column(self, values: pa.ChunkedArray, column: Column, where: str) -> None:
        if values.null_count:
            self._refuse(values, pc.is_null(values), column, "must not be null", where)
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
            if values.null_count:
                self._refuse(values, pc.is_null(values), column, "must not hold nulls", where)
        if pa.types.is_floating(values.type) and not column.nullable:
            self._refuse(values, pc.is_nan(values), column, "must not be NaN", where)
        if column.low is not None:
            self._refuse(values, pc.less(values, column.low), column, f"must be at least {column.low}", where)
        if column.high is not None:
            self._refuse(values, pc.greater(values, column.high), column, f"must be at most {column.high}", where)
        if column.values is not None:
            allowed = pc.is_in(values, value_set=pa.array(column.values, values.type))
            self._refuse(values, pc.invert(allowed), column, f"must be one of {', '.join(column.values)}", where)

    def _refuse(self, values: pa.ChunkedArray, broken: pa.ChunkedArray, column: Column, rule: str, where: str) -> None:
        bad = values.filter(broken)
        if len(bad):
            examples = ", ".join(repr(value) for value in bad.slice(0, EXAMPLES).to_pylist())
            found = f"{len(bad)} of {len(values)} values break the rule, such as {examples}"
            raise self._error(f"column {column.name!r} {rule}", found, where)

    def _check_key(self, table: pa.Table, where: str) -> None:
        if not set(self.key) <= set(table.column_names):
            return
        counts = table.group_by(list(self.key)).aggregate([([], "count_all")])
        repeated = counts.filter(pc.greater(counts["count_all"], 1))
        if len(repeated):
            rows = repeated.select(list(self.key)).slice(0, EXAMPLES).to_pylist()
            examples = "; ".join(", ".join(f"{name}={row[name]!r}" for name in self.key) for row in rows)
            found = f"{len(repeated)} repeated keys, such as {examples}"
            raise self._error(f"key ({', '.join(self.key)}) must be unique", found, where)

    def _check_order(self, keys: pa.Table, last: tuple[Any, ...] | None, where: str) -> tuple[Any, ...]:
        """The last key, which is above `last` as all others are, each above the one before."""
        first, end = (tuple(keys.slice(row, 1).to_pylist()[0].values()) for row in (0, len(keys) - 1))
        if not keys.equals(keys.sort_by([(name, "ascending") for name in self.key])) or (last and first <= last):
            raise self._error(f"must be in the order of ({', '.join(self.key)})", "another order", where)
        return end

    def _error(self, rule: str, found: str, where: str) -> UserError:
        remedy = RESTORE if Path(where).exists() else "run `dvc repro`, which makes it, or `dvc checkout`"
        return UserError(f"Table {self.name!r} {rule}", found=found, where=where, remedy=remedy)


def _from_pandas(values: pd.Series, wanted: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_list(wanted):
        return pa.chunked_array([pa.array(list(values), type=wanted)])
    if pa.types.is_floating(wanted) and values.dtype.kind == "f":
        return pa.chunked_array([pa.array(values.to_numpy(), from_pandas=False)])  # NaN stays NaN, not null
    array = pa.array(values, type=wanted if values.dtype == object else None)
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def _kind(dtype: pa.DataType) -> str:
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return f"list of {_kind(dtype.value_type)}"
    if pa.types.is_integer(dtype):
        return "integer"
    if pa.types.is_floating(dtype):
        return "float"
    if pa.types.is_string(dtype) or pa.types.is_large_string(dtype):
        return "text"
    return str(dtype)


def _same_type(have: pa.DataType, want: pa.DataType) -> bool:
    # The name of a list's element field ("item" or "element") depends on the writer and carries no meaning.
    if pa.types.is_list(have) and pa.types.is_list(want):
        return have.value_type == want.value_type
    return have == want
