"""`wina-amp calibrate`: a checkpoint and a file of texts -> a folder with a profile set."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from wina_amp.atomic import refuse_full
from wina_amp.errors import UserError

SUFFIXES = (".txt", ".jsonl", ".json", ".parquet")


def calibrate_file(
    model: str,
    file: Path,
    folder: Path,
    *,
    columns: Sequence[str],
    dtype: str,
    revision: str,
    **options: Any,
) -> dict[str, Any]:
    """Calibrate, and write the set.

    Args:
        model: folder of a checkpoint, or `owner/name` on the hub.
        file: see `items`.
        folder: new or empty.
        columns: see `items`.
        dtype: of the weights.
        revision: of a model of the hub.
        options: of `wina_amp.calibrate`.

    Raises:
        UserError: a folder with something in it; a file that cannot be read; and see `load` and `calibrate`.
    """
    refuse_full(folder)
    if not file.is_file():
        raise UserError("The file must exist", "no such file", file, "correct its name")
    if file.suffix not in SUFFIXES:
        raise UserError(
            f"The file must be one of {', '.join(SUFFIXES)}", file.suffix or "no suffix", file, "convert it"
        )
    from wina_amp import calibrate
    from wina_amp.models.load import load

    loaded = load(model, revision=revision, dtype=dtype, device="auto")
    start = time.perf_counter()
    name = folder.resolve().name
    profiles = calibrate(loaded.model, loaded.tokenizer, items(file, columns), name=name, data=file.name, **options)
    profiles.save_pretrained(folder)
    return {
        "folder": str(folder),
        "seconds": round(time.perf_counter() - start, 1),
        "targets": list(profiles.description.targets),
        "groups": {group.name: group.samples for group in profiles.description.groups},
    }


def items(file: Path, columns: Sequence[str] = ()) -> Iterator[object]:
    """What the file holds, item by item, as `calibrate` takes it.

    Args:
        file: `.txt` has a text in every line that is not blank (as `load_dataset("text")` reads it), `.jsonl` a JSON
            value in every line, `.json` a list of them, `.parquet` rows.
        columns: of rows: the one with the text, or those with prompt and answer; none where they have the names that
            `calibrate` knows.

    Raises:
        UserError: a file that is not what its suffix says; a row without one of the columns; Parquet without pyarrow.
    """
    for number, row in enumerate(_rows(file)):
        if not columns:
            yield row
            continue
        values = cast(Mapping[str, object], row) if isinstance(row, Mapping) else {}
        if lost := [name for name in columns if name not in values]:
            must, found = f"Every row must have the column {lost[0]}", f"{', '.join(values) or type(row).__name__}"
            raise UserError(must, found, f"{file}, row {number}", "correct --columns")
        yield values[columns[0]] if len(columns) == 1 else tuple(values[name] for name in columns)


def _rows(file: Path) -> Iterator[object]:
    if file.suffix == ".parquet":
        yield from _parquet(file)
        return
    try:
        with file.open(encoding="utf-8") as lines:
            if file.suffix == ".json":
                values = json.load(lines)
                if not isinstance(values, list):
                    raise UserError(
                        "A .json file must hold a list", type(values).__name__, file, "write a list, or .jsonl"
                    )
                yield from cast(list[object], values)
                return
            for line in lines:
                if line.strip():
                    yield line.rstrip("\n") if file.suffix == ".txt" else json.loads(line)
    except ValueError as error:
        raise UserError(f"The file must be {file.suffix[1:]} in UTF-8", str(error), file, "correct it") from error


def _parquet(file: Path) -> Iterator[object]:
    if find_spec("pyarrow") is None:
        must, remedy = "Parquet files need pyarrow", 'install it: pip install "wina-amp[calibrate]"'
        raise UserError(must, "it is not installed", file, remedy)
    import pyarrow
    from pyarrow import parquet

    try:
        table: Any = parquet.ParquetFile(file)
    except pyarrow.ArrowInvalid as error:
        raise UserError("The file must be Parquet", str(error), file, "correct it") from error
    for batch in table.iter_batches(batch_size=256):
        yield from batch.to_pylist()
