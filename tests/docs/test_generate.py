"""Generated pages are fresh, and the hand-written ones name things that exist."""

from __future__ import annotations

from dataclasses import fields

import pytest

from docs import generate
from pipeline.config.params import Settings
from pipeline.storage.schemas import TABLES
from wina_amp.names import CRITERIA, MASKS, ROUTER_KINDS, SCHEMES


@pytest.mark.parametrize("name", generate.pages())
def test_a_generated_page_is_what_the_code_says_now(name: str):
    assert (generate.FOLDER / name).read_text(encoding="utf-8") == generate.pages()[name], "run `make docs`"


def test_every_column_of_every_table_is_explained():
    page = generate.pages()["tables.md"]
    assert all(f"## {table.name}\n" in page for table in TABLES)
    assert all(f"`{column.name}`" in page and column.description for table in TABLES for column in table.columns)


def test_every_section_of_the_settings_is_explained():
    page = generate.pages()["params.md"]
    assert all(f"## {field.name}\n" in page for field in fields(Settings))
    assert all(f"`{name}`" in page for known in (CRITERIA, MASKS, SCHEMES, ROUTER_KINDS) for name in known)
