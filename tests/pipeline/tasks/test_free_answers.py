"""`pipeline.tasks.free_answers`: the right answers of generated text, and how they stand behind their prompt."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tasks.free_answers import is_compared_whole, right_answers, separator_of
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.task_view import TaskView


def view_of(tiny_tasks: Path, folder: Path, more: str) -> TaskView:
    (folder / "words.py").write_text((tiny_tasks / "words.py").read_text())
    text = (tiny_tasks / "write.yaml").read_text()
    kept = [
        line
        for line in text.splitlines()
        if line.split(":")[0] not in {part.split(":")[0] for part in more.splitlines()}
    ]
    (folder / "write.yaml").write_text("\n".join([*kept, more, ""]))
    return load_tasks(folder, ["write"])["write"]["test"]


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize(
    ("prompt", "answer", "separated"),
    [
        pytest.param("a:", "b", "a:|b", id="the task's delimiter"),
        pytest.param("a: ", "b", "a: b", id="a space at the prompt's end"),
        pytest.param("a:\n", "b", "a:\nb", id="a line break at the prompt's end"),
        pytest.param("a:", "\tb", "a:\tb", id="white space of the answer"),
    ],
)
def test_a_generated_answer_stands_behind_one_separator(
    tiny_tasks: Path, tmp_path: Path, prompt: str, answer: str, separated: str
):
    view = view_of(tiny_tasks, tmp_path, "target_delimiter: '|'")
    assert prompt + separator_of(view, prompt, answer) + answer == separated


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize(
    ("prompt", "answer"),
    [pytest.param("答案：", "是", id="Chinese"), pytest.param("Answer: ", "yes", id="a space at the prompt's end")],
)
def test_answers_of_local_files_follow_their_script(tmp_path: Path, prompt: str, answer: str):
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": prompt, "answer": answer}))
    view = load_tasks(tmp_path, ["own"])["own"]["test"]
    assert separator_of(view, prompt, answer) == ""
    assert separator_of(view, "Answer:", "yes") == " "


@pytest.mark.parametrize(
    ("more", "answers"),
    [
        ("doc_to_target: answer", ["w1 w2"]),
        ("doc_to_target: choices", ["w3", "w1 w2"]),
        ("doc_to_target: target\ndoc_to_choice: choices", ["w1 w2"]),
        ("doc_to_target: target", ["1"]),
    ],
)
def test_right_answers_are_those_that_lm_eval_compares_with(
    tiny_tasks: Path, tmp_path: Path, more: str, answers: list[str]
):
    document = {"prompt": "w0", "choices": ["w3", "w1 w2"], "target": 1, "answer": "w1 w2"}
    assert right_answers(view_of(tiny_tasks, tmp_path, more), document) == answers


@pytest.mark.parametrize(
    ("more", "is_whole"),
    [
        ("repeats: 1", True),
        ("filter_list: [{name: first, filter: [{function: remove_whitespace}, {function: take_first}]}]", True),
        ("filter_list: [{name: number, filter: [{function: regex}, {function: take_first}]}]", False),
        ("metric_list: [{metric: exact_match, ignore_punctuation: true}]", False),
        ("process_results: !function words.dataset", False),
    ],
)
def test_answers_of_which_a_part_is_compared_may_be_longer(tiny_tasks: Path, tmp_path: Path, more: str, is_whole: bool):
    assert is_compared_whole(view_of(tiny_tasks, tmp_path, more)) == is_whole
