"""`pipeline.tasks.samples`: rows say what the model will see, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pipeline.storage.schemas import SAMPLES
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.samples import sample_rows, too_long
from pipeline.tasks.task_view import Prompting, TaskView, doc_hash
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


def _views(tiny_tasks: Path, name: str) -> dict[str, TaskView]:
    return load_tasks(tiny_tasks, [name])[name]


def test_a_choice_sample_holds_prompt_choices_and_the_right_answer(tiny_tasks: Path, tiny_loaded: LoadedModel):
    view = _views(tiny_tasks, "pick")["test"]
    row = next(sample_rows(view, [3], tiny_loaded.tokenizer, tiny_loaded.context))
    document = view.documents[3]
    assert row["sample_id"] == "pick/test/3" and row["doc_id"] == 3 and row["doc_hash"] == doc_hash(document)
    assert row["prompt"] == document["prompt"]
    assert row["choices"] == [f" {choice}" for choice in document["choices"]]
    assert row["answer"] == row["choices"][row["target"]] == f" {document['answer']}"
    assert tiny_loaded.tokenizer.decode(row["prompt_ids"]) == f"<bos> {document['prompt']}"
    assert tiny_loaded.tokenizer.decode(row["answer_ids"]) == document["answer"]
    assert row["n_tokens"] == len(row["prompt_ids"])
    assert (row["computation"], row["template"], row["shots"], row["subject"]) == ("words", "s1", 0, "none")


def test_a_generation_sample_has_no_choices_and_target_minus_one(tiny_tasks: Path, tiny_loaded: LoadedModel):
    view = _views(tiny_tasks, "write")["train"]
    row = next(sample_rows(view, [1], tiny_loaded.tokenizer, tiny_loaded.context))
    assert (row["kind"], row["choices"], row["target"]) == ("generation", [], -1)
    assert row["answer"] == f" {view.documents[1]['answer']}"


def test_rows_of_every_kind_of_task_are_a_valid_table(tiny_tasks: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    rows = [
        row
        for views in load_tasks(tiny_tasks, ["pick", "shown", "write"]).values()
        for view in views.values()
        for row in sample_rows(view, [0, 2, 5], tiny_loaded.tokenizer, tiny_loaded.context)
    ]
    SAMPLES.write(pd.DataFrame(rows), tmp_path / "samples.parquet")
    assert len(SAMPLES.read(tmp_path / "samples.parquet")) == 3 * 3 * 3  # tasks, splits, documents


def test_a_text_sample_holds_its_context_and_the_scored_words(tiny_loaded: LoadedModel, tmp_path: Path):
    words = " ".join(f"w{number}" for number in range(20))
    (tmp_path / "book.txt").write_text(words)
    views = load_tasks(tmp_path, ["book"], Prompting(windows=Windows(3, 7), is_chat=True))["book"]
    rows = list(sample_rows(views["test"], [0, 1], tiny_loaded.tokenizer, 128))
    assert [(row["kind"], row["choices"], row["target"]) for row in rows] == [("text", [], -1)] * 2
    assert (rows[1]["prompt"], rows[1]["answer"]) == ("w10 w11 w12", " w13 w14 w15 w16 w17 w18 w19")
    assert rows[1]["n_tokens"] == 4 and len(rows[1]["answer_ids"]) == 7
    SAMPLES.write(pd.DataFrame(rows), tmp_path / "samples.parquet")


@pytest.mark.parametrize("task", ["pick", "write"])
def test_too_long_names_exactly_the_samples_that_are_refused(tiny_tasks: Path, tiny_loaded: LoadedModel, task: str):
    view = _views(tiny_tasks, task)["test"]
    context = 13
    long = too_long(view, range(14), tiny_loaded.tokenizer, context)
    assert 0 < len(long) < 14
    for doc_id in range(14):
        if doc_id in long:
            with pytest.raises(UserError, match=rf"context of 13 tokens.*sample {task}/test/{doc_id}\..*: leave_out"):
                list(sample_rows(view, [doc_id], tiny_loaded.tokenizer, context))
        else:
            assert list(sample_rows(view, [doc_id], tiny_loaded.tokenizer, context))


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize("task", ["pick", "shown", "write"])
def test_a_sample_with_a_token_that_has_no_embedding_is_refused_by_name(
    tiny_tasks: Path, tiny_loaded: LoadedModel, task: str
):
    view = _views(tiny_tasks, task)["test"]
    with pytest.raises(UserError, match=rf"the 12 that.*'w\d+', number \d\d of.*sample {task}/test/0"):
        list(sample_rows(view, [0, 1], tiny_loaded.tokenizer, 128, embeddings=12))


@pytest.mark.tried("checkpoint", "right")
def test_tokens_that_no_sample_uses_need_no_embedding(tiny_tasks: Path, tiny_loaded: LoadedModel):
    view = _views(tiny_tasks, "pick")["test"]
    rows = list(sample_rows(view, [0], tiny_loaded.tokenizer, 128))
    requests = tiny_loaded.tokenizer([row["prompt"] + choice for row in rows for choice in row["choices"]]).input_ids
    assert rows == list(sample_rows(view, [0], tiny_loaded.tokenizer, 128, embeddings=1 + max(map(max, requests))))


_ODD = """
def later(wrong):
    # The first document is the one that lm-eval tries.
    def target(doc):
        return doc["target"] if doc["target"] == 0 else wrong
    return target

none, empty, beyond, flag = later(None), later([]), later(9), later(True)
"""


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("task", "use", "message"),
    [
        pytest.param("pick", "doc_to_target: !function odd.none", "one of its choices.*None", id="no right choice"),
        pytest.param("pick", "doc_to_target: !function odd.empty", "say what is right.*IndexError", id="an empty list"),
        pytest.param("pick", "doc_to_target: !function odd.beyond", "one of its choices.*9 with", id="a choice beyond"),
        pytest.param("pick", "doc_to_text: '{{ prompt if target == 0 else prompt.x.y }}'", "ask about", id="a prompt"),
        pytest.param("write", "doc_to_target: !function odd.none", "no right answer", id="no answer"),
        pytest.param("write", "doc_to_target: !function odd.beyond\ndoc_to_choice: choices",
                     "say what is right.*IndexError", id="an answer among too few"),
    ],
)  # fmt: skip
def test_a_task_that_fails_at_a_later_document_says_why(
    tiny_tasks: Path, tiny_loaded: LoadedModel, tmp_path: Path, task: str, use: str, message: str
):
    view = _changed(tiny_tasks, tmp_path, task, use)
    with pytest.raises(UserError, match=f"{message}.*{task}/test"):
        list(sample_rows(view, range(8), tiny_loaded.tokenizer, 128))


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("use", [pytest.param("output_type: loglikelihood\ndoc_to_target: target", id="a number")])
def test_a_continuation_that_is_no_text_is_refused(
    tiny_tasks: Path, tiny_loaded: LoadedModel, tmp_path: Path, use: str
):
    with pytest.raises(UserError, match=r"say what is right.*0 is no text.*pick/test/0"):
        list(sample_rows(_changed(tiny_tasks, tmp_path, "pick", use), [0], tiny_loaded.tokenizer, 128))


def test_a_target_of_true_is_the_second_choice(tiny_tasks: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    view = _changed(tiny_tasks, tmp_path, "pick", "doc_to_target: !function odd.flag")
    targets = [row["target"] for row in sample_rows(view, [0, 1], tiny_loaded.tokenizer, 128)]
    assert targets == [0, 1] and type(targets[1]) is int


def _changed(tiny_tasks: Path, folder: Path, task: str, use: str) -> TaskView:
    """A task with other lines in its YAML."""
    (folder / "words.py").write_text((tiny_tasks / "words.py").read_text())
    (folder / "odd.py").write_text(_ODD)
    names = {line.split(":")[0] for line in use.splitlines()}
    kept = [line for line in (tiny_tasks / f"{task}.yaml").read_text().splitlines() if line.split(":")[0] not in names]
    (folder / f"{task}.yaml").write_text("\n".join([*kept, use, ""]))
    return _views(folder, task)["test"]
