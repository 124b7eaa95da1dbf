"""`pipeline.tasks.loading`: both splits of a task, documents chosen by content, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tasks.loading import load_tasks
from pipeline.tasks.samples import sample_rows
from pipeline.tasks.task_view import Prompting, doc_hash
from pipeline.tasks.windows import Windows
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel


def test_both_splits_are_views_of_one_task(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["pick", "write"])
    assert list(views) == ["pick", "write"]
    train, test = views["pick"]["train"], views["pick"]["test"]
    assert (train.key, test.key) == ("pick/train", "pick/test")
    assert (train.kind, train.score) == ("choice", "acc")
    assert (views["write"]["test"].kind, views["write"]["test"].score) == ("generation", "exact_match")
    assert not {doc_hash(doc) for doc in train.documents} & {doc_hash(doc) for doc in test.documents}


def test_the_hash_is_that_of_the_content_not_of_the_order_of_keys():
    assert doc_hash({"a": 1, "b": "ü"}) == doc_hash({"b": "ü", "a": 1}) != doc_hash({"a": 1, "b": "u"})


def test_few_shot_prompts_are_the_same_every_time_and_never_show_the_question_itself(tiny_tasks: Path):
    view = load_tasks(tiny_tasks, ["shown"])["shown"]["train"]
    prompts = []
    for _ in range(2):
        task = view.only(range(14))
        task.build_all_requests()
        prompts.append([(request.doc["prompt"], request.args[0]) for request in task.instances])
    assert prompts[0] == prompts[1]
    assert all(shown.count(question) == 1 for question, shown in prompts[0])


def test_an_unknown_task_is_refused_with_the_nearest_name(tiny_tasks: Path, monkeypatch: pytest.MonkeyPatch):
    from pipeline.tasks import loading

    real = loading.TaskManager
    # Listing lm-eval's thousands of tasks takes many seconds; the folder's own are enough here.
    monkeypatch.setattr(loading, "TaskManager", lambda include_path, include_defaults: real(None, include_path, False))
    with pytest.raises(UserError, match=r"Found: 'pikc'\..*did you mean pick\?"):
        load_tasks(tiny_tasks, ["pick", "pikc"])


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be a folder of lm-eval task YAMLs.*no such folder"):
        load_tasks(tmp_path / "nowhere", ["pick"])


_CHOICE = "output_type: multiple_choice\ndoc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: target\n"
_HEAD = "task: bad\ncustom_dataset: !function words.dataset\ntest_split: test\n"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        ("output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: answer\n",
         "have at least one document"),  # answers of three words give no window
        ("output_type: multiple_choice\ndoc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: target\n"
         "metric_list: [{metric: brier_score, aggregation: brier_score, higher_is_better: false}]\n",
         r"report acc or exact_match\. Found: brier_score"),
        ("output_type: multiple_choice\ndoc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: target\n"
         "dataset_kwargs: {size: 0}\n", "have at least one document"),
        ("output_type: multiple_choice\ndoc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: '{{ 9 }}'\n",
         r"have .* its right choice among its choices\. Found: none, or none of its choices named as right"),
        (f"{_CHOICE}num_fewshot: -1\n", r"have a whole number of `num_fewshot`, at least 0\. Found: -1"),
        (f"{_CHOICE}num_fewshot: 1.5\n", r"have a whole number of `num_fewshot`.*Found: 1\.5"),
        (f"{_CHOICE}repeats: 0\n", r"have a whole number of `repeats`, at least 1\. Found: 0"),
        ("output_type: multiple_choice\ndoc_to_text: nothing.here\ndoc_to_choice: choices\ndoc_to_target: target\n"
         "dataset_kwargs: {splits: [train]}\n", r"be loadable\. Found: KeyError"),
    ],
)  # fmt: skip
def test_a_task_that_cannot_be_evaluated_is_refused(tiny_tasks: Path, tmp_path: Path, yaml: str, message: str):
    (tmp_path / "words.py").write_text((tiny_tasks / "words.py").read_text())
    (tmp_path / "bad.yaml").write_text(_HEAD + yaml)
    with pytest.raises(UserError, match=f"A task must {message}.*task bad"):
        load_tasks(tmp_path, ["bad"])


def test_a_narrowed_task_asks_what_lm_eval_asks_of_those_documents(tiny_tasks: Path):
    view = load_tasks(tiny_tasks, ["pick"])["pick"]["test"]
    narrowed = view.only([3, 11])
    narrowed.build_all_requests()
    view.task.build_all_requests(samples=[3, 11])
    assert [request.args for request in narrowed.instances] == [request.args for request in view.task.instances]
    assert [request.doc for request in narrowed.instances[::4]] == [view.documents[3], view.documents[11]]
    assert {request.task_name for request in narrowed.instances} == {"pick/test"}


def _copy_tasks(tiny_tasks: Path, folder: Path) -> None:
    for path in filter(Path.is_file, tiny_tasks.iterdir()):  # Python adds a folder when it reads the tasks
        (folder / path.name).write_text(path.read_text())


def test_a_task_of_a_group_has_its_own_subject(tiny_tasks: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    _copy_tasks(tiny_tasks, tmp_path)
    head = "custom_dataset: !function words.dataset\noutput_type: multiple_choice\ntest_split: test\n"
    body = "doc_to_text: prompt\ndoc_to_choice: choices\ndoc_to_target: target\nprocess_docs: !function bare.bare\n"
    (tmp_path / "bare.py").write_text("def bare(docs):\n    return docs.remove_columns('subject')\n")
    (tmp_path / "quiz_law.yaml").write_text(f"task: quiz_law\n{head}{body}")
    (tmp_path / "quiz_art.yaml").write_text(f"task: quiz_art\ntask_alias: fine arts\n{head}{body}")
    (tmp_path / "quiz.yaml").write_text("group: quiz\ntask: [quiz_law, quiz_art]\n")
    tasks = load_tasks(tmp_path, ["quiz", "quiz_law", "pick"])
    assert list(tasks) == ["quiz_law", "quiz_art", "pick"]
    assert tasks["quiz_law"]["test"].requested_as == ("quiz", "quiz_law")
    subjects = [
        next(sample_rows(views["test"], [0], tiny_loaded.tokenizer, 128))["subject"] for views in tasks.values()
    ]
    assert subjects == ["law", "fine arts", "none"]  # `pick` has a column of its own, which says "none"


def test_a_task_of_a_group_is_evaluated_though_a_local_file_has_its_name(tiny_tasks: Path, tmp_path: Path):
    _copy_tasks(tiny_tasks, tmp_path)
    rows = [{"prompt": f"p{at}", "choices": ["a", "b"], "target": 0, "split": "train"} for at in range(9)]
    (tmp_path / "made.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "made.yaml").write_text(
        f"task: made\ndataset_path: json\ndataset_kwargs: {{data_files: {tmp_path}/made.jsonl}}\n"
        "output_type: multiple_choice\ntest_split: train\ndoc_to_text: prompt\ndoc_to_choice: choices\n"
        "doc_to_target: target\n"
    )
    (tmp_path / "all.yaml").write_text("group: all\ntask: [made]\n")
    assert list(load_tasks(tmp_path, ["all"])["made"]) == ["train", "test", "confirmation"]


def test_pages_of_a_rolling_task_become_windows(tiny_tasks: Path, tmp_path: Path):
    _copy_tasks(tiny_tasks, tmp_path)
    (tmp_path / "pages.yaml").write_text(
        "task: pages\ncustom_dataset: !function words.dataset\noutput_type: loglikelihood_rolling\n"
        "training_split: train\ntest_split: test\ndoc_to_text: ''\ndoc_to_target: '{{prompt}} {{prompt}} {{prompt}}'\n"
    )
    views = load_tasks(tmp_path, ["pages"], Prompting(windows=Windows(4, 5)))["pages"]
    page = " ".join([load_tasks(tmp_path, ["pick"])["pick"]["test"].documents[0]["prompt"]] * 3)
    expected = Windows(4, 5).cut(page)
    windows = [(document["context"], document["continuation"]) for document in views["test"].documents]
    assert windows[: len(expected)] == expected
    assert (views["train"].kind, views["train"].is_shared) == ("text", False)


def test_the_number_of_solved_examples_is_the_settings_unless_the_task_fixes_none(tiny_tasks: Path):
    tasks = load_tasks(tiny_tasks, ["pick", "shown", "single"], Prompting(num_fewshot=3))
    assert [views["test"].task.config.num_fewshot for views in tasks.values()] == [0, 3, 3]
    view = tasks["single"]["test"]
    task = view.only(range(14))
    task.build_all_requests()
    for request in task.instances:
        assert request.args[0].count(request.doc["prompt"]) == 1, "the question is among its own examples"
        assert request.args[0].count("\n\n") == 3


def test_more_solved_examples_than_documents_are_refused(tiny_tasks: Path):
    with pytest.raises(UserError, match=r"15 documents to draw 14 solved examples from\. Found: 14.*task single/train"):
        load_tasks(tiny_tasks, ["single"], Prompting(num_fewshot=14))
