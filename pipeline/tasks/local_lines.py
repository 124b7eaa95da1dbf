"""The rows of a `.jsonl` file, one JSON object in every line, as columns.

Python's own JSON reads them, 0.15 million rows a second: Arrow's takes some files for what they are not (two objects in
a line) and crashes on others (a row that is `null`). Lines end as text files end them; a BOM is passed over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from wina_amp.errors import UserError

_FORMATS = {
    b"\xff\xfe\0\0": "text in UTF-32", b"\xff\xfe": "text in UTF-16", b"\xfe\xff": "text in UTF-16",
    b"\x1f\x8b": "a gzip archive", b"PK\x03\x04": "a zip archive", b"BZh": "a bzip2 archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive", b"\xfd7zXZ\0": "an xz archive", b"%PDF-": "a PDF",
    b"PAR1": "a Parquet file", b"version https://git-lfs": "a Git LFS pointer",
}  # fmt: skip
"""First bytes -> the format that begins like this."""


def read_columns(path: Path, known: Collection[str]) -> tuple[dict[str, list[Any]], set[str]]:
    """The known columns of the rows, those that have a value in any row, and the names of all others.

    A value that is not there is None.

    Raises:
        UserError: no rows; a line that is no JSON object or names a column twice.
    """
    columns: dict[str, list[Any]] = {}
    others: set[str] = set()
    count = 0
    for number, row in enumerate(_rows(path)):
        count += 1
        for name, value in row.items():
            if name not in known:
                others.add(name)
            elif value is not None:
                values = columns.setdefault(name, [])
                values += [None] * (number - len(values))
                values.append(value)
    filled = {name: columns[name] + [None] * (count - len(columns[name])) for name in known if name in columns}
    return filled, others


def refuse_other_formats(path: Path) -> None:
    """Refuse a file that is another thing than its name says, by its first bytes, before all of it is read.

    Raises:
        UserError: an archive, another encoding, a pointer.
    """
    with path.open("rb") as stream:
        start = stream.read(max(map(len, _FORMATS)))
    for first, format_ in _FORMATS.items():
        if start.startswith(first) and not (path.suffix == ".parquet" and first == b"PAR1"):
            remedy = (
                f"convert it: a {path.suffix} file is {'Parquet' if path.suffix == '.parquet' else 'text in UTF-8'}"
            )
            raise UserError("A local file must be what its name says", found=format_, where=str(path), remedy=remedy)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    number = -1
    # Bytes that are not UTF-8 become lone surrogates, which are looked for with the values.
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for line in lines:
            if not line.strip():
                continue
            number += 1
            try:
                row = json.loads(line, object_pairs_hook=_once)
            except (ValueError, RecursionError) as error:
                raise _bad(f"{error} ({_short(line)!r})", path, number) from error
            if not isinstance(row, dict):
                raise _bad(_short(line.strip()), path, number)
            yield row
    if number < 0:
        raise UserError(_RULE, found="no line", where=str(path), remedy="add rows, or remove the file")


_RULE = "A .jsonl file must have one JSON object in every line"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} twice in one object")
    return row


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:97]}..."


def _bad(found: str, path: Path, row: int) -> UserError:
    return UserError(_RULE, found=_short(found), where=f"{path}, row {row} (from 0)", remedy="correct the row")
