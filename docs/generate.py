"""Writes docs/tables.md, docs/params.md and docs/api.md from the code, so that they cannot disagree with it.

    python -m docs.generate

tests/docs/test_generate.py fails when a committed page is not what this writes.
"""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path

from docs import api
from pipeline.config.params import Settings
from pipeline.config.validation import Node, Schema
from pipeline.storage.schemas import TABLES
from pipeline.storage.tables import Column, Table
from wina_amp import names

FOLDER = Path(__file__).resolve().parent

_WIDTH = 120


def pages() -> dict[str, str]:
    """File name -> text of every generated page."""
    return {"tables.md": _join(_tables()), "params.md": _join(_params()), "api.md": _join(api.page())}


def _tables() -> Iterator[str]:
    yield "# Tables"
    yield (
        "Every table of the pipeline, generated from `pipeline/storage/schemas.py` by `make docs`. Tables are Parquet "
        "files, checked when they are written and again when they are read; `dvc.yaml` says which stage writes which. "
        "Rows are sorted by the key. List columns come back as one numpy array per row."
    )
    for table in TABLES:
        yield f"## {table.name}"
        yield f"{table.description} Key: {', '.join(f'`{name}`' for name in table.key)}."
        yield _grid(("column", "type", "must be", "meaning"), [_column_row(table, column) for column in table.columns])


def _column_row(table: Table, column: Column) -> tuple[str, ...]:
    name = f"**`{column.name}`**" if column.name in table.key else f"`{column.name}`"
    limits = [f"at least {column.low:g}"] if column.low is not None else []
    limits += [f"at most {column.high:g}"] if column.high is not None else []
    limits += ["one of " + ", ".join(column.values)] if column.values is not None else []
    must = " and ".join(limits) or ("may be NaN" if column.nullable else "")
    return (name, column.type, must, column.description)


def _params() -> Iterator[str]:
    yield "# Settings"
    yield (
        "Every setting of `params.yaml`, generated from `pipeline/config` by `make docs`. The values in use are those "
        "of `params.yaml`; `dvc exp run -S 'section.key=value'` tries another one. All are checked at the start of "
        "every stage, and a mistake is reported with the setting's name and what it may be."
    )
    schema = Schema(Settings)
    for name, node in schema.root["properties"].items():
        yield f"## {name}"
        inner = schema.resolved(node)
        if "properties" in inner:
            yield from _section(schema, inner, name)
        elif "$ref" in (entry := schema.entry(inner)):
            yield from _section(schema, schema.resolved(entry), f"{name}.<name>")
        else:
            yield _grid(_PARAM_HEAD, [_param_row(schema, name, node)])
    yield "## Names"
    yield "What the names stand for, from `wina_amp/names.py`."
    for kind, names_of_kind in _NAMES.items():
        yield _grid((kind, "meaning"), [(f"`{name}`", meaning) for name, meaning in names_of_kind.items()])


_PARAM_HEAD = ("setting", "type", "must be", "meaning")
_NAMES: dict[str, dict[str, str]] = {
    "criterion": names.CRITERIA,
    "mask": names.MASKS,
    "scheme": names.SCHEMES,
    "clustering algorithm": names.ALGORITHMS,
    "allocation": names.ALLOCATIONS,
    "search of `greedy`": names.GREEDY_SEARCHES,
    "router": names.ROUTER_KINDS,
    "transform": names.TRANSFORMS,
    "device": names.DEVICES,
    "dtype": names.DTYPES,
    "split": names.SPLITS,
    "too long": names.TOO_LONG,
}


def _section(schema: Schema, section: Node, prefix: str) -> Iterator[str]:
    yield " ".join(section["description"].split())
    settings = {f"{prefix}.{name}": node for name, node in section["properties"].items()}
    yield _grid(_PARAM_HEAD, [_param_row(schema, name, node) for name, node in settings.items()])
    for name, node in settings.items():
        inner = schema.resolved(node)
        entry = schema.entry(inner)
        if "properties" in inner:
            yield from _section(schema, inner, name)
        elif "$ref" in entry:
            yield from _section(schema, schema.resolved(entry), f"{name}.<name>")


def _param_row(schema: Schema, name: str, node: Node) -> tuple[str, ...]:
    rule = schema.rule(node)
    return (f"`{name}`", rule.type.removeprefix("a "), rule.limits, node["description"])


def _grid(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _join(blocks: Iterator[str]) -> str:
    """One text; paragraphs are wrapped."""
    wrapped = (block if block.startswith(("#", "|", "```", "- ")) else textwrap.fill(block, _WIDTH) for block in blocks)
    return "\n\n".join(wrapped) + "\n"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        logging.info("wrote docs/%s", name)
