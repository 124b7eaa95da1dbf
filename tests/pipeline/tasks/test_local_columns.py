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
    layout, table = read(lines(tmp_path / "a.jsonl", row, row))
    pq.write_table(pa.Table.from_pylist([row, row]), tmp_path / "a.parquet")
    again, other = read(tmp_path / "a.parquet")
    assert layout.name == again.name == name
    assert table.to_pylist() == other.to_pylist()
    assert table.num_rows == 2 and "anything" not in table.column_names


def test_text_that_looks_like_a_date_stays_text(tmp_path: Path):
    _, table = read(lines(tmp_path / "a.jsonl", {**ANSWER, "answer": "2020-01-01"}))
    assert table["answer"].to_pylist() == ["2020-01-01"]


WRONG = [
    ([CHOICE, {**CHOICE, "target": 2}], r"`target` must be the index of the right choice, from 0\. Found: 2.*row 1 "),
    ([{**CHOICE, "target": -1}], r"`target` must be the index.*Found: -1.*row 0 "),
    ([{**CHOICE, "choices": ["4"]}], r"`choices` must hold at least two choices.*row 0 "),
    ([CHOICE, CHOICE, {**CHOICE, "choices": ["4", " "]}], r"`choices` must hold no empty text.*row 2 "),
    ([{**CHOICE, "choices": ["4", None]}], r"`choices` must hold no empty text.*row 0 "),
    ([CHOICE, {**CHOICE, "target": None}], r"`target` must be filled in every row.*row 1 "),
    ([{**ANSWER, "prompt": "  "}], r"`prompt` must not be blank.*row 0 "),
    ([{**ANSWER, "max_tokens": 0}], r"`max_tokens` must be at least 1\. Found: 0"),
    ([{**ANSWER, "stop": [""]}], r"`stop` must hold no empty text"),
    ([{**ANSWER, "split": "dev"}], r"`split` must be train or test\. Found: 'dev'.*row 0 "),
    ([ANSWER, {**ANSWER, "answer": 4}], r"`answer` is text.*Found: .*/answer\).* row 1.*a\.jsonl"),
    ([{**CHOICE, "target": 0.5}], r"one JSON object in every line.*0\.5"),
    ([[1]], r"one JSON object in every line"),
    ([{"prompt": "a", "choices": ["a", "b"]}], r"one layout: prompt, choices, target.*Found: prompt, choices\."),
    ([{"prompt": "a", "text": "b"}], r"columns of one layout.*Found: prompt, text"),
    ([{"question": "a"}], r"columns of one layout.*Found: none of them"),
    ([], r"one JSON object in every line.*Empty"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "message"), WRONG)
def test_a_mistake_is_named_with_file_row_and_column(tmp_path: Path, rows: list[Any], message: str):
    with pytest.raises(UserError, match=message) as caught:
        read(lines(tmp_path / "a.jsonl", *rows))
    assert "a.jsonl" in caught.value.where and caught.value.remedy


def test_a_parquet_column_of_another_type_and_a_broken_file_are_refused(tmp_path: Path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a"], "answer": [4]}), path)
    with pytest.raises(UserError, match=r"Column `answer` must be text\. Found: int64.*a\.parquet"):
        read(path)
    pq.write_table(pa.table({"prompt": ["a"], "choices": [["a", "b"]], "target": [1.0]}), path)
    with pytest.raises(UserError, match=r"Column `target` must be a whole number\. Found: double"):
        read(path)
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(UserError, match=r"parquet file must be readable.*a\.parquet"):
        read(path)
