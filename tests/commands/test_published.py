"""Copies of published benchmarks give the documents of the authors' files; what is in no known format is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.published import PUBLISHED
from wina_amp.errors import UserError

ARC = {"question": "Which? How?", "choices": {"text": ["dry", "wet: no"], "label": ["A", "B"]}, "answerKey": "B"}

COPIES = [
    pytest.param(
        "arc_easy",
        {
            "instruction": "Please choose the correct answer to the question: Which? How?\n\n"
            "Answer1: dry Answer2: wet: no\n\nAnswer format: answer1/answer2",
            "input": "",
            "output": "the correct answer is answer2",
            "answer": "answer2",
        },
        ARC,
        id="ARC of LLM-Adapters",
    ),
    pytest.param(
        "winogrande",
        {"context_options": ["The Sam", "The Sara"], "continuation": "won.", "gold": 1},
        {"sentence": "The _ won.", "option1": "Sam", "option2": "Sara", "answer": "2"},
        id="WinoGrande of llm-foundry",
    ),
    pytest.param(
        "winogrande",
        {"context_options": ["Sam", "Ann"], "continuation": "won.", "gold": 0},
        {"sentence": "_ won.", "option1": "Sam", "option2": "Ann", "answer": "1"},
        id="WinoGrande of llm-foundry, the blank first",
    ),
    pytest.param(
        "lambada_openai",
        {"context": "I care\n\nabout", "continuation": "signs"},
        {"text": "I care\n\nabout signs"},
        id="LAMBADA of llm-foundry",
    ),
    pytest.param(
        "boolq",
        {"question": "is it", "title": "It", "answer": False, "passage": "It is not."},
        {"question": "is it", "passage": "It is not.", "label": 0},
        id="BoolQ before SuperGLUE",
    ),
    pytest.param(
        "hellaswag_without_label",
        {"question": "A man [title] runs.  he", "choices": {"A": "[step] falls.", "B": "wins."}, "answer": "B"},
        {"query": "A man. runs. he", "choices": [" falls.", "wins."], "label": "1"},
        id="HellaSwag without the activity",
    ),
]


@pytest.mark.parametrize(("task", "row", "document"), COPIES)
def test_a_copy_gives_lm_evals_document(task: str, row: dict[str, Any], document: dict[str, Any]):
    assert PUBLISHED[task].document(row) == document


def test_mmlu_is_read_with_and_without_a_header(tmp_path: Path):
    (tmp_path / "own.csv").write_text('"Say ""b""?",a,b,c,d,B\n')
    (tmp_path / "copy.csv").write_text('question,choice0,choice1,choice2,choice3,answer\n"Say ""b""?",a,b,c,d,1\n')
    document = {"question": 'Say "b"?', "choices": ["a", "b", "c", "d"], "answer": 1}
    for name in ("own.csv", "copy.csv"):
        assert PUBLISHED["mmlu"].documents(tmp_path / name) == [document]


BAD = [
    pytest.param("piqa", '{"goal": "a", "sol1": "b", "sol2": "c"}', "row 0.*docs/tasks.md", id="no label"),
    pytest.param("arc_easy", '{"instruction": "Which", "answer": "answer1"}', "row 0", id="no choices"),
    pytest.param("gsm8k", '{"question": "a", "answer": "b"}\n{"question": "a"}', "'answer'.*row 1", id="no answer"),
    pytest.param("gsm8k", '{"question": "a", "answer": "b"', "JSONDecodeError", id="half a row"),
    pytest.param("gsm8k", "[1]", "row 0", id="a list"),
]


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(("task", "text", "message"), BAD)
def test_rows_of_no_known_format_are_refused(task: str, text: str, message: str, tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(UserError, match=rf"must be as published.*{message}"):
        PUBLISHED[task].documents(tmp_path / "rows.jsonl")


@pytest.mark.tried("texts", "refused")
def test_fewer_labels_than_rows_are_refused(tmp_path: Path):
    row = {"goal": "a", "sol1": "b", "sol2": "c"}
    (tmp_path / "valid.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    (tmp_path / "valid-labels.lst").write_text("0\n")
    with pytest.raises(UserError, match=r"must be as published.*shorter"):
        PUBLISHED["piqa"].documents(tmp_path / "valid.jsonl")


@pytest.mark.tried("texts", "refused")
def test_two_files_of_one_split_are_refused(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lambada_test.jsonl").touch()
    with pytest.raises(UserError, match=r"One file only.*one/lambada_test\.jsonl, .*two/lambada_test\.jsonl"):
        PUBLISHED["lambada_openai"].file(tmp_path, "test")
