"""`pipeline.tasks.local_lines`, through `local_columns`: lines are read as JSON says, or refused with their row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pipeline.tasks.local_columns import read
from wina_amp.errors import UserError

ROW = b'{"prompt": "a", "answer": "b"}'
CHOICE = b'{"prompt": "a", "choices": ["3", "4"], "target": %s}'

READ = {
    "a BOM": (b"\xef\xbb\xbf" + ROW, ["a"]),
    "line ends of Windows": (ROW + b"\r\n" + ROW + b"\r\n", ["a", "a"]),
    "line ends of old Macs": (ROW + b"\r" + ROW, ["a", "a"]),
    "blank lines": (b"\n\n" + ROW + b"\n \n" + ROW + b"\n\n", ["a", "a"]),
    "no line end at the end": (ROW + b"\n" + ROW, ["a", "a"]),
    "a line separator in a text": ('{"prompt": "a\u2028b", "answer": "b"}'.encode(), ["a\u2028b"]),
    "an escaped emoji": (b'{"prompt": "\\ud83d\\ude00", "answer": "b"}', ["\U0001f600"]),
    "a row of 5 MB": (b'{"prompt": "%s", "answer": "b"}' % (b"x" * 5_000_000), ["x" * 5_000_000]),
    "other columns of mixed types": (
        b'{"prompt": "a", "answer": "b", "x": 1}\n{"prompt": "c", "answer": "b", "x": {"y": [NaN]}}', ["a", "c"],
    ),
    "other columns in Latin-1": (b'{"prompt": "a", "answer": "b", "x": "caf\xe9"}', ["a"]),
    "an optional column of nulls": (b'{"prompt": "a", "answer": "b", "stop": null}', ["a"]),
}  # fmt: skip


@pytest.mark.tried("texts", "right")
@pytest.mark.parametrize(("content", "prompts"), READ.values(), ids=READ)
def test_lines_are_read_as_json(tmp_path: Path, content: bytes, prompts: list[str]):
    (tmp_path / "a.jsonl").write_bytes(content)
    assert [row["prompt"] for row in read(tmp_path / "a.jsonl")[1]] == prompts


REFUSED = {
    "an empty file": (b"", r"Found: no line"),
    "blank lines only": (b"\n \n\n", r"Found: no line"),
    "a lone header": (b"prompt,answer\n", r"one JSON object.*row 0 "),
    "an array": (b"[" + ROW + b"]", r"one JSON object.*Found: \[.*row 0 "),
    "null": (ROW + b"\nnull\n" + ROW, r"one JSON object.*Found: null.*row 1 "),
    "a number": (b"5", r"one JSON object.*Found: 5.*row 0 "),
    "an object over several lines": (json.dumps(json.loads(ROW), indent=2).encode(), r"one JSON object.*row 0 "),
    "two objects in a line": (ROW + ROW, r"one JSON object.*Extra data.*row 0 "),
    "a line cut off": (ROW + b"\n\n" + ROW[:-10], r"one JSON object.*row 1 "),
    "nesting without end": (b'{"x": ' + b"[" * 200_000, r"one JSON object.*recursion.*row 0 "),
    "a column twice": (ROW + b'\n{"prompt": "a", "prompt": "z", "answer": "b"}', r"'prompt' twice.*row 1 "),
    "UTF-16": (ROW.decode().encode("utf-16"), r"what its name says\. Found: text in UTF-16"),
    "gzip": (gzip.compress(ROW), r"what its name says\. Found: a gzip archive"),
    "a Parquet file": (b"PAR1...", r"Found: a Parquet file"),
    "Latin-1 bytes": (ROW + b'\n{"prompt": "caf\xe9", "answer": "b"}', r"`prompt` must be text in UTF-8.*row 1 "),
    "Latin-1 bytes in a list": (CHOICE.replace(b"4", b"\xe9") % b"0", r"`choices` must be text in UTF-8.*row 0 "),
    "half an emoji": (b'{"prompt": "\\ud83d", "answer": "b"}', r"`prompt` must be text in UTF-8.*row 0 "),
    "a NUL byte": (ROW.replace(b"a", b"\0", 1), r"one JSON object.*row 0 "),
    "NUL bytes only": (b"\0" * 100, r"one JSON object.*row 0 "),
    "an escaped NUL": (b'{"prompt": "a\\u0000", "answer": "b"}', r"`prompt` must hold no NUL character.*row 0 "),
    "a number for text": (b'{"prompt": 1, "answer": "b"}', r"`prompt` must be text\. Found: 1\..*row 0 "),
    "a text for a number": (CHOICE % b'"1"', r"`target` must be a whole number\. Found: '1'.*row 0 "),
    "true for a number": (CHOICE % b"true", r"`target` must be a whole number\. Found: True.*row 0 "),
    "a fraction": (CHOICE % b"1.0", r"`target` must be a whole number\. Found: 1\.0.*row 0 "),
    "a number beyond 64 bits": (CHOICE % b"99999999999999999999", r"`target` must be a whole number.*row 0 "),
    "lists in a list": (CHOICE.replace(b'"3"', b'["3"]') % b"1", r"`choices` must be a list of text.*row 0 "),
    "null in a column": (ROW + b'\n{"prompt": "a", "answer": null}', r"`answer` must be filled in every row.*row 1 "),
    "a column that a row lacks": (ROW + b'\n{"prompt": "a"}', r"`answer` must be filled in every row.*row 1 "),
    "a bad row of 5 MB": (b'{"prompt": "%s\\u0000", "answer": "b"}' % (b"x" * 5_000_000), r"no NUL character.*row 0 "),
}  # fmt: skip


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "a.jsonl")
    assert "a.jsonl" in caught.value.where and len(str(caught.value)) < 1000
