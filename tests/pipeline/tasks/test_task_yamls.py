"""A YAML that lm-eval cannot read is named with what is wrong with it, and is not just an unknown task."""

from __future__ import annotations

from pathlib import Path

import datasets
import pytest

from pipeline.tasks.loading import load_tasks
from wina_amp.errors import UserError

GOOD = """task: mine
dataset_path: json
dataset_kwargs: {data_files: {train: DATA, test: DATA}}
output_type: multiple_choice
training_split: train
test_split: test
doc_to_text: q
doc_to_choice: c
doc_to_target: t
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
"""

BROKEN = [
    pytest.param(GOOD + "x: [1\n", "did not find expected ',' or ']'", id="an open bracket"),
    pytest.param("\ttask: mine\n", "cannot start any token", id="a tab"),
    pytest.param("- task: mine\n", "got list", id="a list"),
    pytest.param("", "got NoneType", id="nothing"),
    pytest.param(b"task: mine\ndescription: \xff\xfe\n", "invalid leading UTF-8 octet", id="bytes that are no UTF-8"),
    pytest.param(GOOD.replace("task: mine\n", ""), "neither `task` nor `group`", id="no `task`"),
    pytest.param(GOOD.replace("task: mine", "task: other"), "`task: other`", id="another `task`"),
    pytest.param(GOOD.replace("task: mine", "task: 12"), "`task: 12`, which is no text", id="a number as `task`"),
    pytest.param("include: nothere.yaml\n" + GOOD, "No such file", id="an `include` that is missing"),
    pytest.param("include: mine.yaml\n" + GOOD, "Include cycle", id="an `include` of itself"),
    pytest.param(GOOD + "x: !nothing 3\n", "tag '!nothing'", id="an unknown tag"),
]
UNLOADABLE = [
    pytest.param(
        GOOD.replace("doc_to_text: q", "doc_to_text: !function nomod.f"), "nomod", id="a function of a missing module"
    ),
    pytest.param(GOOD.replace("doc_to_text: q", "doc_to_text: !function bad.f"), "boom", id="a module that raises"),
    pytest.param(GOOD + "doc_to_txt: q\n", "doc_to_txt", id="a misspelt key"),
    pytest.param(GOOD.replace("doc_to_text: q", "doc_to_text: '{{ q'"), "unexpected end of", id="an open template"),
    pytest.param(GOOD.replace("doc_to_text: q", "doc_to_text: '{{ no.x }}'"), "undefined", id="an unknown column"),
    pytest.param(GOOD.replace("multiple_choice", "multi"), "invalid output_type", id="an unknown output type"),
    pytest.param(GOOD.replace("test_split: test", "test_split: tset"), "tset", id="a split that is not there"),
    pytest.param(GOOD.replace("DATA", "/nowhere.jsonl"), "/nowhere.jsonl", id="data that are not there"),
]


def folder_with(folder: Path, text: str | bytes, name: str = "mine.yaml") -> Path:
    data = folder / "data" / "rows.jsonl"
    data.parent.mkdir()
    data.write_text('{"q": "a", "c": ["b", "c"], "t": 0}\n' * 3)
    (folder / "bad.py").write_text("raise ValueError('boom')\n")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.replace("DATA", str(data)).encode())
    return folder


def test_a_good_one_is_loaded(tmp_path: Path):
    assert list(load_tasks(folder_with(tmp_path, GOOD), ["mine"])) == ["mine"]


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(("text", "problem"), BROKEN)
def test_a_yaml_that_lm_eval_passes_over_is_named(tmp_path: Path, text: str | bytes, problem: str):
    with pytest.raises(UserError, match=r"YAML of a task must be readable.*mine\.yaml") as caught:
        load_tasks(folder_with(tmp_path, text), ["mine"])
    assert problem in str(caught.value)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(("text", "problem"), UNLOADABLE)
def test_a_task_that_cannot_be_loaded_says_why(tmp_path: Path, text: str, problem: str):
    with pytest.raises(UserError, match=r"A task must be loadable.*task mine") as caught:
        load_tasks(folder_with(tmp_path, text), ["mine"])
    assert problem in str(caught.value)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("kind", [PermissionError, NotADirectoryError])
def test_a_cache_that_cannot_be_written_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[OSError]
):
    def fails(*_: object) -> None:
        raise kind(13, "no", str(datasets.config.HF_CACHE_HOME / "datasets"))

    monkeypatch.setattr("datasets.config.HF_CACHE_HOME", Path("/dev/null"), raising=True)
    monkeypatch.setattr("lm_eval.tasks.TaskManager.load", fails)
    with pytest.raises(UserError, match="set HF_HOME to a folder that can be written"):
        load_tasks(folder_with(tmp_path, GOOD), ["mine"])


@pytest.mark.tried("errors", "refused")
def test_a_task_of_the_hub_names_both_variables_where_nothing_may_be_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def offline(*_: object) -> None:
        raise ConnectionError("Couldn't reach 'nyu-mll/glue' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr("lm_eval.tasks.TaskManager.load", offline)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE=0 HF_DATASETS_OFFLINE=0"):
        load_tasks(folder_with(tmp_path, GOOD), ["mine"])
