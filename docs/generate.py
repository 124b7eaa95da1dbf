"""Writes docs/tables.md and docs/params.md from the code, so that they cannot disagree with it.

    python -m docs.generate

tests/test_docs.py fails when a committed page is not what this writes.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from pipeline.config.fields import Rule
from pipeline.config.params import NAMED_SECTIONS, ORDER, SCHEME_LIST, SECTIONS, SEED
from pipeline.storage.schemas import TABLES
from pipeline.storage.tables import Column, Table

FOLDER = Path(__file__).resolve().parent


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {"tables.md": _join(_tables()), "params.md": _join(_params())}


def _tables() -> Iterator[str]:
    yield "# Tables"
    yield (
        "Every table of the pipeline, generated from `pipeline/storage/schemas.py` by `make docs`. Tables are Parquet "
        "files, "
        "checked when they are written and again when they are read; `dvc.yaml` says which stage writes which. Rows "
        "are sorted by the key. List columns come back as one numpy array per row."
    )
    for table in TABLES:
        yield f"## {table.name}"
        yield f"{table.description} Key: {', '.join(f'`{name}`' for name in table.key)}."
        yield _grid(("column", "type", "must be", "meaning"), [_column_row(table, column) for column in table.columns])


def _column_row(table: Table, column: Column) -> tuple[str, ...]:
    name = f"**`{column.name}`**" if column.name in table.key else f"`{column.name}`"
    rule = Rule("", low=column.low, high=column.high, choices=column.values).limits
    return (name, column.type, rule or ("may be NaN" if column.nullable else ""), column.description)


def _params() -> Iterator[str]:
    yield "# Settings"
    yield (
        "Every setting of `params.yaml`, generated from `pipeline/config/sections.py` by `make docs`. The values in "
        "use are "
        "those of `params.yaml`; `dvc exp run -S 'section.key=value'` tries another one. All are checked at the start "
        "of every stage, and a mistake is reported with the setting's name and what it may be."
    )
    for section in ORDER:
        yield f"## {section}"
        if section in SECTIONS:
            yield from _section(SECTIONS[section], section)
        elif section in NAMED_SECTIONS:
            yield from _section(NAMED_SECTIONS[section], f"{section}.<name>")
        else:
            rule, type_name = (SEED, "whole number") if section == "seed" else (SCHEME_LIST, "list of text")
            yield _grid(_PARAM_HEAD, [(f"`{section}`", type_name, rule.limits, rule.description)])


_PARAM_HEAD = ("setting", "type", "must be", "meaning")


def _section(cls: type[Any], prefix: str) -> Iterator[str]:
    yield " ".join((cls.__doc__ or "").split())
    hints = get_type_hints(cls)
    rows: list[tuple[str, ...]] = []
    for field in dataclasses.fields(cls):
        rule: Rule = field.metadata["rule"]
        rows.append((f"`{prefix}.{field.name}`", _type_name(hints[field.name]), rule.limits, rule.description))
    yield _grid(_PARAM_HEAD, rows)
    for name, hint in hints.items():
        inner = next(filter(dataclasses.is_dataclass, get_args(hint)), None)
        if inner is not None:
            keys = ".<name>" if get_origin(hint) is Mapping else ""
            yield from _section(inner, f"{prefix}.{name}{keys}")


def _type_name(hint: Any) -> str:
    if any(map(dataclasses.is_dataclass, get_args(hint))):
        return "names with sections" if get_origin(hint) is Mapping else "section or null"
    names = {
        int: "whole number",
        float: "number",
        str: "text",
        bool: "true or false",
        str | None: "text or null",
        int | None: "whole number or null",
        int | float: "number",
        float | None: "number or null",
        tuple[str, ...]: "list of text",
        tuple[str, ...] | None: "list of text or null",
        tuple[float, ...]: "list of numbers",
        tuple[int, ...]: "list of whole numbers",
        Mapping[str, str]: "names with text",
    }
    return names[hint]


def _grid(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _join(blocks: Iterator[str]) -> str:
    return "\n\n".join(blocks) + "\n"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        logging.info("wrote docs/%s", name)
