"""`pipeline.tasks.local_columns`: layouts are recognised, and every mistake is named with file, row and column."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.tasks.local_columns import read
from wina_amp.errors import UserError

CHOICE = {"prompt": "2 + 2 =", "choices": ["3", "4"], "target": 1}
ANSWER = {"prompt": "2 + 2 =", "answer": "4"}
TASK = {"instruction": "Add.", "input": "2 2", "output": "4"}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (CHOICE, "multiple choice"),
        ({**CHOICE, "answer": "4", "subject": "sums", "split": "train"}, "multiple choice"),
        ({**ANSWER, "stop": ["\n"], "max_tokens": 3, "shots": 0}, "generation"),
        (TASK, "instruction"),
        ({"context": "a", "text": "b"}, "text behind a context"),
        ({"text": "b", "anything": {"else": 1}}, "text"),
    ],
)
def test_a_layout_is_recognised_by_its_columns_in_both_formats(tmp_path: Path, row: dict[str, Any], name: str):
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "a.parquet")
    known = {column: value for column, value in row.items() if column != "anything"}
    for file in (lines(tmp_path / "a.jsonl", row, row), tmp_path / "a.parquet"):
        assert read(file) == (name, [known, known])


def test_text_that_looks_like_a_date_stays_text(tmp_path: Path):
    _, rows = read(lines(tmp_path / "a.jsonl", {**ANSWER, "answer": "2020-01-01"}))
    assert rows[0]["answer"] == "2020-01-01"


WRONG = [
    ([CHOICE, {**CHOICE, "target": 2}], r"`target` must be the index of the right choice, from 0\. Found: 2.*row 1 "),
    ([{**CHOICE, "target": -1}], r"`target` must be the index.*Found: -1.*row 0 "),
    ([{**CHOICE, "choices": ["4"]}], r"`choices` must hold at least two choices.*row 0 "),
    ([CHOICE, CHOICE, {**CHOICE, "choices": ["4", " "]}], r"`choices` must hold no empty text.*row 2 "),
    ([{**CHOICE, "choices": ["4", None]}], r"`choices` must hold no empty text.*row 0 "),
    ([{**ANSWER, "prompt": "  "}], r"`prompt` must not be blank.*row 0 "),
    ([{**ANSWER, "max_tokens": 0}], r"`max_tokens` must be at least 1\. Found: 0"),
    ([{**ANSWER, "stop": [""]}], r"`stop` must hold no empty text"),
    ([{**ANSWER, "split": "dev"}], r"`split` must be train or test\. Found: 'dev'.*row 0 "),
    ([{"prompt": "a", "choices": ["a", "b"]}], r"one layout: prompt, choices, target.*Found: prompt, choices\."),
    ([{"prompt": "a", "text": "b"}], r"columns of one layout.*Found: prompt, text"),
    ([{"question": "a"}], r"columns of one layout.*Found: none of them"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), WRONG)
def test_a_mistake_is_named_with_file_row_and_column(tmp_path: Path, rows: list[Any], message: str):
    with pytest.raises(UserError, match=message) as caught:
        read(lines(tmp_path / "a.jsonl", *rows))
    assert "a.jsonl" in caught.value.where and caught.value.remedy


ARROW_TYPES = [
    ("prompt", pa.large_string()),
    ("prompt", pa.string_view()),
    ("prompt", pa.dictionary(pa.int32(), pa.string())),
    ("prompt", pa.dictionary(pa.int8(), pa.large_string())),
    ("choices", pa.large_list(pa.large_string())),
    ("choices", pa.list_view(pa.string())),
    ("choices", pa.large_list_view(pa.string())),
    ("choices", pa.list_(pa.string_view())),
    ("choices", pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    ("choices", pa.list_(pa.string(), 2)),
    ("target", pa.uint64()),
    ("target", pa.int8()),
]


@pytest.mark.tried("texts", "right")
@pytest.mark.parametrize(("column", "type_"), ARROW_TYPES, ids=[f"{name} as {type_}" for name, type_ in ARROW_TYPES])
def test_every_type_that_arrow_has_for_a_kind_is_read(tmp_path: Path, column: str, type_: Any):
    rows = [CHOICE, {**CHOICE, "prompt": "1 + 2 =", "target": 0}]
    columns = {name: [row[name] for row in rows] for name in CHOICE}
    pq.write_table(pa.table({**columns, column: pa.array(columns[column], type_)}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet")[1] == rows


def _not_utf8(rows: list[list[bytes]]) -> pa.Array:
    """Lists of text that hold any bytes, as a careless program writes them."""
    flat = pa.array([text for row in rows for text in row], pa.binary())
    offsets = pa.array([sum(map(len, rows[:number])) for number in range(len(rows) + 1)], pa.int32())
    return pa.ListArray.from_arrays(offsets, flat.view(pa.string()))


ODD_TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "Latin-1 bytes": (
        {"prompt": pa.array([b"a", b"caf\xe9"]).view(pa.string()), "answer": ["a", "b"]},
        r"`prompt` must be text in UTF-8\. Found: b'caf\\xe9'.*row 1 ",
    ),
    "Latin-1 bytes in a list": (
        {"prompt": ["a", "b"], "choices": _not_utf8([[b"a", b"b"], [b"a", b"\xe9"]]), "target": [0, 0]},
        r"`choices` must be text in UTF-8.*row 1 ",
    ),
    "NUL": ({"text": ["a", "b\0"]}, r"`text` must hold no NUL character.*row 1 "),
    "NUL in a list": (
        {"prompt": ["a"], "choices": [["a", "\0"]], "target": [0]}, r"`choices` must hold no NUL.*row 0 ",
    ),
    "bytes": ({"prompt": [b"a"], "answer": ["b"]}, r"`prompt` must be text\. Found: b'a'.*row 0 "),
    "nulls in a column": ({"prompt": ["a", None], "answer": ["b", "c"]}, r"`prompt` must be filled.*None.*row 1 "),
    "a column of nulls": ({"prompt": ["a"], "answer": pa.nulls(1)}, r"columns of one layout.*Found: prompt\."),
    "a table of no rows": ({"other": pa.array([], pa.string())}, r"columns of one layout.*Found: none"),
    "booleans": (
        {"prompt": ["a"], "choices": [["a", "b"]], "target": [True]}, r"`target` must be a whole number\. Found: True",
    ),
    "numbers beyond 64 bits": (
        {"prompt": ["a"], "choices": [["a", "b"]], "target": pa.array([2**64 - 1], pa.uint64())},
        r"`target` must be a whole number\. Found: 18446744073709551615",
    ),
    "text in structs": ({"prompt": [{"a": "b"}], "answer": ["b"]}, r"`prompt` must be text\. Found: {'a': 'b'}"),
    "times that Python has not": (
        {"prompt": pa.array([1], pa.time64("ns")), "answer": ["b"]}, r"`prompt` must be text\. Found: .*row 0 ",
    ),
}  # fmt: skip


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(("columns", "message"), ODD_TABLES.values(), ids=ODD_TABLES)
def test_an_odd_parquet_table_is_refused_with_row_and_column(tmp_path: Path, columns: dict[str, Any], message: str):
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a.parquet")


@pytest.mark.tried("texts", "refused")
def test_two_columns_of_one_name_are_refused(tmp_path: Path):
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["prompt", "prompt", "answer"]), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"every column once\. Found: two of prompt"):
        read(tmp_path / "a.parquet")


def test_a_row_counts_from_the_start_of_a_file_of_many_row_groups(tmp_path: Path):
    rows = pa.Table.from_pylist([CHOICE] * 5 + [{**CHOICE, "choices": ["4", ""]}])
    pq.write_table(rows, tmp_path / "a.parquet", row_group_size=2)
    with pytest.raises(UserError, match=r"`choices` must hold no empty text.*row 5 "):
        read(tmp_path / "a.parquet")


@pytest.mark.tried("texts", "warned")
@pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param("max_token", "max_tokens", id="a letter missing"),
        pytest.param("Split", "split", id="a capital"),
        pytest.param("shots ", "shots", id="a space"),
    ],
)
def test_a_column_that_is_not_read_but_nearly_has_a_known_name_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, known: str
):
    row = {"prompt": "a", "answer": "b", "id": 1, "source": "c", name: "d"}
    read(lines(tmp_path / "x.jsonl", row))
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    read(tmp_path / "x.parquet")
    assert [record.message.partition(": ")[2] for record in caplog.records] == [
        f"columns that are not read: {name!r} (not {known!r})"
    ] * 2
