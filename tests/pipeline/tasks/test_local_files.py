"""`pipeline.tasks.local_files`: files become lm-eval tasks that ask and score what the rows say."""

from __future__ import annotations

import gzip
import json
import logging
import lzma
from pathlib import Path
from typing import Any

import pytest

from pipeline.tasks.loading import load_tasks
from pipeline.tasks.task_view import Prompting, TaskView, arguments
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError


def put(folder: Path, name: str, *rows: dict[str, Any]) -> None:
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def requested(view: TaskView) -> list[tuple[Any, ...]]:
    """lm-eval's requests of every document of the view."""
    task = view.only(range(len(view.documents)))
    task.build_all_requests()
    return [arguments(request) for request in task.instances]


def test_choices_are_asked_and_scored_by_their_index(tmp_path: Path):
    row = {"prompt": "2 + 2 =", "choices": ["3", "4"], "target": 1, "subject": "sums"}
    put(tmp_path, "sums", {**row, "split": "train"}, {**row, "prompt": "2 + 1 =", "target": 0, "split": "test"})
    views = load_tasks(tmp_path, ["sums"])["sums"]
    assert requested(views["train"]) == [("2 + 2 =", " 3"), ("2 + 2 =", " 4")]
    assert requested(views["test"]) == [("2 + 1 =", " 3"), ("2 + 1 =", " 4")]
    assert views["test"].kind == "choice" and not views["test"].is_shared
    document = views["test"].documents[0]
    assert views["test"].task.process_results(document, [(-1.0, True), (-2.0, False)])["acc"] == 1.0
    assert document["subject"] == "sums"


def test_answers_are_generated_within_the_rows_own_limits_and_compared_without_spaces(tmp_path: Path):
    put(tmp_path, "free", {"prompt": "a", "answer": " yes "}, {"prompt": "b", "answer": "no"})
    put(tmp_path, "own", {"prompt": "a", "answer": "yes", "stop": [";", "."], "max_tokens": 3})
    views = load_tasks(tmp_path, ["free", "own"])
    assert requested(views["free"]["test"])[0] == ("a", {"until": ["\n"], "max_gen_toks": 64, "do_sample": False})
    assert requested(views["own"]["test"])[0] == ("a", {"until": [";", "."], "max_gen_toks": 3, "do_sample": False})
    task: Any = views["free"]["test"].only([0])
    task.build_all_requests()
    task.instances[0].resps = [" yes\t"]
    task.apply_filters()
    filtered = task.instances[0].filtered_resps["none"]
    assert task.process_results(task.eval_docs[0], [filtered])["exact_match"] == 1.0
    assert task.process_results(task.eval_docs[0], ["yes, no"])["exact_match"] == 0.0


def test_alpaca_rows_become_their_own_prompt_and_their_output_is_scored(tmp_path: Path, caplog):
    put(
        tmp_path,
        "alpaca",
        {"instruction": "Add.", "input": "2 2", "output": "4", "split": "train"},
        {"instruction": "Sing.", "input": "", "output": "La la.", "split": "train"},
        {"instruction": "Sleep.", "input": "", "output": " ", "split": "train"},
    )
    with caplog.at_level(logging.WARNING):
        views = load_tasks(tmp_path, ["alpaca"])["alpaca"]
    assert "1 of 3 rows have a blank `output`" in caplog.text
    assert set(views) == {"train"} and views["train"].kind == "text" and not views["train"].is_shared
    assert requested(views["train"]) == [
        (
            "Below is an instruction that describes a task, paired with an input that provides further context. "
            "Write a response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n"
            "### Input:\n2 2\n\n### Response:",
            "4",
        ),
        (
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
            "\n\n### Instruction:\nSing.\n\n### Response:",
            "La la.",
        ),
    ]


def test_text_behind_a_context_is_one_sample_and_gets_one_space(tmp_path: Path):
    put(
        tmp_path,
        "cloze",
        {"context": "a b", "text": "c d"},
        {"context": "a\n", "text": "c"},
        {"context": "a", "text": " c"},
    )
    views = load_tasks(tmp_path, ["cloze"])["cloze"]
    assert requested(views["test"]) == [("a b", " c d"), ("a\n", "c"), ("a", " c")]


def test_running_text_is_cut_into_windows_that_keep_the_labels_of_their_text(tmp_path: Path):
    words = " ".join(f"w{number}" for number in range(25))
    put(tmp_path, "rows", {"text": words, "subject": "one"}, {"text": "too short", "subject": "two"})
    (tmp_path / "plain.txt").write_text(f"{words}<|endoftext|>\n{words}")
    prompting = Prompting(windows=Windows(4, 6))
    rows = load_tasks(tmp_path, ["rows", "plain"], prompting)
    assert requested(rows["rows"]["test"]) == [
        ("w0 w1 w2 w3", " w4 w5 w6 w7 w8 w9"),
        ("w10 w11 w12 w13", " w14 w15 w16 w17 w18 w19"),
    ]
    assert [document["subject"] for document in rows["rows"]["test"].documents] == ["one", "one"]
    assert len(rows["plain"]["test"].documents) == 4 and rows["plain"]["test"].is_shared


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pick.jsonl": "", "pick.yaml": "task: pick\n"}, r"a YAML's or a local file's.*'pick' and the file pick\.j"),
        ({"pick.jsonl": "", "pick.txt": ""}, r"files must have different names\. Found: pick\.jsonl and pick\.txt"),
        ({"pick.txt": "seven words are not yet a window"}, r"at least one\. Found: no text.*pick\.txt"),
        ({"pick.jsonl": '{"prompt": 1}'}, r"`prompt` must be text.*pick\.jsonl, row 0 "),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_a_task_is_refused(tmp_path: Path, files: dict[str, str], message: str):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load_tasks(tmp_path, ["pick"])


WORDS = b"some words of a text that is long enough for one window\n"


@pytest.mark.tried("texts", "right")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + WORDS, id="a BOM"),
        pytest.param(WORDS.replace(b" ", b"\r\n"), id="line ends of Windows"),
        pytest.param(WORDS.replace(b" ", b"\r"), id="line ends of old Macs"),
    ],
)
def test_a_text_file_is_read_as_text(tmp_path: Path, content: bytes):
    (tmp_path / "pick.txt").write_bytes(content)
    [(context, scored)] = requested(load_tasks(tmp_path, ["pick"])["pick"]["test"])
    assert f"{context}{scored}".split() == WORDS.decode().split() and context.startswith("some")


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("pick.txt", WORDS * 3 + b"caf\xe9", r"UTF-8.*0xe9.*pick\.txt, line 3 ", id="Latin-1 bytes"),
        pytest.param("pick.txt", WORDS + b"a\0b", r"NUL character.*pick\.txt, line 1 ", id="NUL bytes"),
        pytest.param("pick.txt", WORDS.decode().encode("utf-16"), r"Found: text in UTF-16", id="UTF-16"),
        pytest.param("pick.txt", gzip.compress(WORDS), r"Found: a gzip archive", id="gzip"),
        pytest.param("pick.txt", lzma.compress(WORDS), r"Found: an xz archive", id="xz"),
        pytest.param("pick.txt", WORDS.decode().encode("utf-32"), r"Found: text in UTF-32", id="UTF-32"),
        pytest.param("pick.txt", b"%PDF-1.4 " + WORDS, r"Found: a PDF", id="a PDF"),
        pytest.param("pick.txt", b"", r"at least one\. Found: no text", id="an empty text"),
        pytest.param("pick.parquet", b"", r"parquet file must be readable.*pick", id="an empty Parquet file"),
        pytest.param("pick.parquet", b"PAR1 nothing", r"parquet file must be readable", id="a broken Parquet file"),
        pytest.param("pick.parquet", gzip.compress(WORDS), r"Found: a gzip archive", id="gzip for Parquet"),
        pytest.param("pick.csv", b"prompt,answer\n", r"end in \.jsonl, \.parquet, \.txt\. Found: pick\.csv", id="CSV"),
        pytest.param("pick.jsonl.gz", b"", r"end in \.jsonl.*Found: pick\.jsonl\.gz", id="a .gz file"),
        pytest.param("pick.json", b"[]", r"end in \.jsonl.*Found: pick\.json", id="a .json file"),
        pytest.param("pick.TXT", WORDS, r"end in \.jsonl.*Found: pick\.TXT", id="an ending in capitals"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_tasks(tmp_path, ["pick"])


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ".txt"])
def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path, suffix: str):
    (tmp_path / f"pick{suffix}").mkdir()
    with pytest.raises(UserError, match=r"must be a file\. Found: a folder"):
        load_tasks(tmp_path, ["pick"])


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize(
    ("prompt", "choices", "asked"),
    [
        pytest.param("Answer:", ["yes", "no"], [" yes", " no"], id="English"),
        pytest.param("Answer: ", ["yes", "no"], ["yes", "no"], id="a space at the prompt's end"),
        pytest.param("Answer:\n", ["yes", "no"], ["yes", "no"], id="a line break at the prompt's end"),
        pytest.param("Answer:", [" yes", "no"], [" yes", " no"], id="a space of one choice's own"),
        pytest.param("答案：", ["是", "不是"], ["是", "不是"], id="Chinese"),
        pytest.param("日本の首都は", ["東京", "Kyoto"], ["東京", "Kyoto"], id="Japanese"),
        pytest.param("답:", ["네", "아니요"], [" 네", " 아니요"], id="Korean"),
    ],
)
def test_choices_stand_behind_one_separator_in_solved_examples_too(
    tmp_path: Path, prompt: str, choices: list[str], asked: list[str]
):
    rows = [{"prompt": f"{number} {prompt}", "choices": choices, "target": 0} for number in range(2)]
    put(tmp_path, "quiz", *rows)
    put(tmp_path, "shown", *[rows[0] | {"split": "train"}] * 2, rows[1] | {"split": "test"})
    assert requested(load_tasks(tmp_path, ["quiz"])["quiz"]["test"])[:2] == [(f"0 {prompt}", text) for text in asked]
    view = load_tasks(tmp_path, ["shown"], Prompting(num_fewshot=1))["shown"]["test"]
    assert requested(view)[0] == (f"0 {prompt}{asked[0]}\n\n1 {prompt}", asked[0])


@pytest.mark.tried("separator", "right")
@pytest.mark.parametrize("delimiter", [pytest.param(" ", id="a space"), pytest.param("", id="nothing")])
def test_tasks_of_lm_eval_keep_their_own_delimiter(tiny_tasks: Path, tmp_path: Path, delimiter: str):
    (tmp_path / "words.py").write_text((tiny_tasks / "words.py").read_text())
    text = (tiny_tasks / "pick.yaml").read_text()
    (tmp_path / "pick.yaml").write_text(f"{text}target_delimiter: '{delimiter}'\ndescription: '答案: '\n")
    view = load_tasks(tmp_path, ["pick"])["pick"]["test"]
    first = view.documents[0]
    assert requested(view)[0] == (f"答案: {first['prompt']}", delimiter + first["choices"][0])
