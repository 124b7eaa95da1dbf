"""Tables keep what they are given, refuse what breaks a rule, and write the same bytes for the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.storage.tables import ROWS_AT_ONCE, Column, Table
from wina_amp.errors import UserError

FRUIT = Table(
    "fruit",
    "A table with every kind of column.",
    key=("name", "year"),
    columns=(
        Column("name", "string", "text"),
        Column("year", "int16", "whole number", low=2000, high=2100),
        Column("colour", "string", "closed list", values=("red", "green")),
        Column("ripe", "bool", "truth"),
        Column("weight", "float64", "number", low=0),
        Column("sugar", "float32", "number or NaN", nullable=True),
        Column("seeds", "list<int32>", "list", low=0),
    ),
)


def rows(count: int = 4) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": [f"n{number:03d}" for number in range(count)],
            "year": np.arange(count) % 100 + 2000,
            "colour": ["red", "green"] * (count // 2),
            "ripe": [True, False] * (count // 2),
            "weight": np.linspace(0, 1, count),
            "sugar": np.where(np.arange(count) % 2, np.nan, 0.5),
            "seeds": [np.arange(number % 3) for number in range(count)],
        }
    )


def test_what_is_written_is_read_back_with_the_declared_types(tmp_path: Path):
    FRUIT.write(rows(), tmp_path / "fruit.parquet")
    back = FRUIT.read(tmp_path / "fruit.parquet")
    assert list(back.columns) == [column.name for column in FRUIT.columns]
    assert back["year"].dtype == np.int16 and back["sugar"].dtype == np.float32
    assert back["name"].tolist() == rows()["name"].tolist()
    np.testing.assert_array_equal(back["sugar"], rows()["sugar"].astype(np.float32))
    assert all(np.array_equal(one, other) for one, other in zip(back["seeds"], rows()["seeds"], strict=True))
    assert back["seeds"][0].dtype == np.int32


def test_bytes_do_not_depend_on_the_order_of_rows_or_columns_nor_on_the_kind_of_input(tmp_path: Path):
    frame = rows(40)
    shuffled = frame.sample(frac=1, random_state=0)[frame.columns[::-1]]
    FRUIT.write(frame, tmp_path / "a.parquet")
    FRUIT.write(shuffled, tmp_path / "b.parquet")
    FRUIT.write(FRUIT.read_arrow(tmp_path / "a.parquet"), tmp_path / "c.parquet")
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_lists_of_numbers_are_stored_byte_by_byte_without_a_dictionary_and_all_else_with_one(tmp_path: Path):
    FRUIT.write(rows(40), tmp_path / "fruit.parquet")
    group = pq.ParquetFile(tmp_path / "fruit.parquet").metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    encodings = {column.path_in_schema: set(column.encodings) for column in columns}
    assert "BYTE_STREAM_SPLIT" in encodings["seeds.list.element"]
    assert not any("DICTIONARY" in name for name in encodings["seeds.list.element"])
    for name in ("name", "year", "weight"):
        assert "RLE_DICTIONARY" in encodings[name] and "BYTE_STREAM_SPLIT" not in encodings[name]


def test_an_empty_table_is_a_table(tmp_path: Path):
    FRUIT.write(FRUIT.arrow_schema.empty_table(), tmp_path / "none.parquet")
    assert len(FRUIT.read(tmp_path / "none.parquet")) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"year": [1999, 2001, 2002, 3]}, r"'year' must be at least 2000\. Found: 2 of 4 values .* 1999, 3"),
        ({"year": [2101, 2001, 2002, 2003]}, r"'year' must be at most 2100\. Found: 1 of 4 values"),
        ({"year": [70000, 2001, 2002, 2003]}, r"'year' must have type int16\. Found: Integer value 70000"),
        ({"year": ["2000"] * 4}, r"'year' must have type int16\. Found: .*string"),
        ({"year": [2000.5] * 4}, r"'year' must have type int16\. Found: double"),
        ({"colour": ["red", "blue", "red", "blue"]}, r"'colour' must be one of red, green\. Found: 2 of 4 .*'blue'"),
        ({"colour": ["red", None, "red", "red"]}, r"'colour' must not be null\. Found: 1 of 4"),
        ({"weight": [0.0, np.nan, 1.0, 1.0]}, r"'weight' must not be NaN\. Found: 1 of 4"),
        ({"weight": [0.0, None, 1.0, 1.0]}, r"'weight' must not be NaN\. Found: 1 of 4"),
        ({"ripe": [1, 0, 1, 0]}, r"'ripe' must have type bool"),
        ({"seeds": [[1], [-1], [], []]}, r"'seeds' must be at least 0\. Found: 1 of 2 values"),
        ({"seeds": [[1], None, [], []]}, r"'seeds' must not be null\. Found: 1 of 4"),
        ({"seeds": [[1], [None], [], []]}, r"'seeds' must not hold nulls"),
        ({"name": ["n1", "n1", "n2", "n2"], "year": [2000] * 4}, r"key \(name, year\) must be unique\. Found: 2 rep"),
    ],
)
def test_a_broken_rule_is_counted_with_examples_and_nothing_is_written(tmp_path: Path, change: dict, said: str):
    with pytest.raises(UserError, match=said) as caught:
        FRUIT.write(rows().assign(**change), tmp_path / "fruit.parquet")
    assert "Table 'fruit'" in str(caught.value) and str(tmp_path / "fruit.parquet") in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_refused_write_leaves_the_earlier_file(tmp_path: Path):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(), path)
    before = path.read_bytes()
    with pytest.raises(UserError):
        FRUIT.write(rows().assign(weight=-1), path)
    assert path.read_bytes() == before


def test_missing_and_unexpected_columns_are_named(tmp_path: Path):
    with pytest.raises(UserError, match=r"missing \['sugar'\], unexpected \['salt'\]"):
        FRUIT.write(rows().rename(columns={"sugar": "salt"}), tmp_path / "fruit.parquet")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "must exist. Found: no such file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-20]), "readable Parquet file. Found: a damaged file"),
        (lambda path: path.write_text("nonsense"), "readable Parquet file. Found: a damaged file"),
        (
            lambda path: pq.write_table(pa.table({"name": ["x"], "extra": [1]}), path),
            r"missing \['year', 'colour', 'ripe', 'weight', 'sugar', 'seeds'\], unexpected \['extra'\]",
        ),
    ],
)
def test_a_missing_damaged_or_foreign_file_is_refused_with_a_remedy(tmp_path: Path, spoil, said: str):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(), path)
    spoil(path)
    with pytest.raises(UserError, match=said) as caught:
        FRUIT.read(path)
    assert "dvc repro" in str(caught.value) and ("chmod" in str(caught.value)) == path.exists()


@pytest.mark.parametrize("columns", [None, ("name", "year", "seeds"), ("seeds",)])
@pytest.mark.parametrize("count", [0, 2, 2 * ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 2])
def test_a_stream_is_what_reading_gives_some_rows_at_a_time(tmp_path: Path, count: int, columns: tuple | None):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(count) if count else FRUIT.arrow_schema.empty_table(), path)
    streamed = list(FRUIT.stream(path, columns))
    assert all(0 < len(table) <= ROWS_AT_ONCE for table in streamed)
    whole = FRUIT.read_arrow(path, columns)
    assert repr(pa.concat_tables([*streamed, whole.slice(0, 0)]).to_pylist()) == repr(whole.to_pylist())


@pytest.mark.tried("damage", "refused")
@pytest.mark.parametrize(
    ("slices", "said"),
    [
        pytest.param([(1, 1), (0, 1), (2, 2 * ROWS_AT_ONCE)], r"in the order of \(name, year\)", id="two rows swapped"),
        pytest.param([(2, ROWS_AT_ONCE), (0, 2)], r"in the order of \(name, year\)", id="the first rows at the end"),
        pytest.param([(0, ROWS_AT_ONCE)] * 2, r"in the order of \(name, year\)", id="all rows twice"),
        pytest.param([(0, 1), (0, 2)], r"key \(name, year\) must be unique", id="a row twice"),
    ],
)
def test_rows_out_of_order_are_no_stream(tmp_path: Path, slices: list[tuple[int, int]], said: str):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(2 * ROWS_AT_ONCE), path)
    table = FRUIT.read_arrow(path)
    pq.write_table(pa.concat_tables([table.slice(*rows) for rows in slices]), path)
    with pytest.raises(UserError, match=said):
        list(FRUIT.stream(path))


@pytest.mark.tried("damage", "refused")
@pytest.mark.parametrize("part", ["pages", "footer"])
def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path, part: str):
    """Pages have checksums. The footer has none: what a flip in it leaves readable holds the same rows, because nothing
    that decides them is stored once."""
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(), path)
    whole, content = repr(FRUIT.read_arrow(path).to_pylist()), path.read_bytes()  # NaN equals no NaN
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    places = range(footer) if part == "pages" else range(footer, len(content))
    refused = 0
    for place in places[::7]:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x80]) + content[place + 1 :])
        try:
            assert repr(FRUIT.read_arrow(path).to_pylist()) == whole
        except UserError:
            refused += 1
    assert refused


def test_damage_inside_the_data_pages_is_found(tmp_path: Path):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(2000), path)
    sound = path.read_bytes()
    for place in range(200, 2000, 60):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0xFF]) + sound[place + 1 :])
        with pytest.raises(UserError, match="damaged file"):
            FRUIT.read(path)


def test_rules_are_checked_again_on_reading(tmp_path: Path):
    path = tmp_path / "fruit.parquet"
    FRUIT.write(rows(), path)
    table = pq.read_table(path)
    wrong = table.set_column(4, "weight", pa.array([-1.0, -2.0, 0.0, 0.0]))
    pq.write_table(wrong, path)
    with pytest.raises(UserError, match=r"'weight' must be at least 0\. Found: 2 of 4"):
        FRUIT.read(path)
    pq.write_table(table.set_column(1, "year", pa.array([2000] * 4, pa.int64())), path)
    with pytest.raises(UserError, match=r"'year' must have type int16\. Found: int64"):
        FRUIT.read(path)


def test_only_the_columns_asked_for_are_read(tmp_path: Path):
    FRUIT.write(rows(), tmp_path / "fruit.parquet")
    assert list(FRUIT.read(tmp_path / "fruit.parquet", columns=["weight", "name"]).columns) == ["weight", "name"]


def test_parts_are_read_in_name_order_and_keys_are_unique_over_all_of_them(tmp_path: Path):
    FRUIT.write(rows().assign(name=list("efgh")), tmp_path / "1.parquet")
    FRUIT.write(rows().assign(name=list("abcd")), tmp_path / "0.parquet")
    assert [part.num_rows for part in FRUIT.parts(tmp_path)] == [4, 4]
    assert FRUIT.read_parts(tmp_path)["name"].tolist() == list("abcdefgh")
    FRUIT.write(rows().assign(name=list("dxyz"), year=2003), tmp_path / "2.parquet")
    with pytest.raises(UserError, match="1 repeated keys, such as name='d', year=2003"):
        FRUIT.read_parts(tmp_path)


def test_a_folder_without_parts_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be a folder of Parquet parts\. Found: an empty folder"):
        FRUIT.read_parts(tmp_path)
