"""`pipeline.benchmark.tasks`: both splits of a task, documents chosen by content, and clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.benchmark.tasks import load_tasks
from pipeline.benchmark.views import doc_hash
from pipeline.errors import UserError


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
    from pipeline.benchmark import tasks

    real = tasks.TaskManager
    # Listing lm-eval's thousands of tasks takes many seconds; the folder's own are enough here.
    monkeypatch.setattr(tasks, "TaskManager", lambda include_path, include_defaults: real(None, include_path, False))
    with pytest.raises(UserError, match=r"Found: 'pikc'\..*did you mean pick\?"):
        load_tasks(tiny_tasks, ["pick", "pikc"])


def test_a_missing_folder_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be a folder of lm-eval task YAMLs.*no such folder"):
        load_tasks(tmp_path / "nowhere", ["pick"])


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
