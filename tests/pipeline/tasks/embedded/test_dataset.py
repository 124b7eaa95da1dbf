"""The embedded task files: lm-eval scores the truth with 1 and anything else with 0, in both kinds of task."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import lm_eval.evaluator
import pytest
import yaml
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from pipeline.config.protocol import file_of, load
from pipeline.tasks.embedded.computations import COMPUTATIONS
from pipeline.tasks.embedded.dataset import dataset
from pipeline.tasks.loading import load_tasks
from wina_amp.errors import UserError

FOLDER = Path("data/benchmark")
GENERATED = ("addition_free", "reversal_free", "sorting_free", "translation_free")
"""Tasks of free generation with exact match."""


class Fixed(LM):
    """Knows the truth and gives it, or says nothing right."""

    def __init__(self, *, is_right: bool) -> None:
        super().__init__()
        self._is_right = is_right

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        def value(request: Instance) -> float:
            doc: Any = request.doc
            is_answer = request.args[1].strip() == doc["answer"]
            return 0.0 if is_answer == self._is_right else -1.0

        return [(value(request), False) for request in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [f" {request.doc['answer']} " if self._is_right else "" for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError


def test_there_is_a_task_file_for_every_computation_and_every_generated_one() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*COMPUTATIONS, *GENERATED}


@pytest.mark.parametrize("is_right", [True, False])
def test_lm_eval_scores_the_truth_with_one_and_the_rest_with_zero(is_right: bool) -> None:
    tasks = load_tasks(FOLDER, ["boolean", "addition_free", "translation_free"])
    views = [by_split["test"] for by_split in tasks.values()]
    evaluation: Any = lm_eval.evaluator.evaluate(
        lm=Fixed(is_right=is_right),
        task_dict={"tasks": {view.key: view.task for view in views}},
        samples={view.key: list(range(6)) for view in views},
        log_samples=True,
        bootstrap_iters=0,
    )
    scores = {view.key: [record[view.score] for record in evaluation["samples"][view.key]] for view in views}
    assert scores == {view.key: [float(is_right)] * 6 for view in views}


@pytest.mark.parametrize(
    ("change", "message"),
    [({"computation": "adition"}, "did you mean 'addition'"), ({"levels": [7]}, "`levels` must be a list")],
)
def test_a_mistake_in_a_task_file_is_named(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"computation": "addition", "levels": [1], "seed": 0, "train": 1, "test": 1}
    with pytest.raises(UserError) as caught:
        dataset(**(arguments | change))
    assert message in str(caught.value)


LOADED = """
import importlib.util
import sys

spec = importlib.util.spec_from_file_location("embedded", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
splits = module.dataset("addition", [1], seed=0, train=1, test=2, version=1.0, pretrained="a model's argument")
print({split: len(rows) for split, rows in splits.items()})
"""
"""What lm-eval does with `!function embedded.dataset`."""


def _loaded_elsewhere(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program in another folder, without the repository or an environment's variables on its path."""
    command = [sys.executable, "-I", "-c", LOADED, str(file.resolve())]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_task_files_work_from_another_folder(tmp_path: Path):
    process = _loaded_elsewhere(FOLDER / "embedded.py", tmp_path)
    assert process.stdout == "{'train': 1, 'test': 2}\n", process.stderr


@pytest.mark.tried("errors", "refused")
def test_task_files_without_their_repository_say_what_is_missing(tmp_path: Path):
    shutil.copytree(FOLDER, tmp_path / "data/benchmark")
    process = _loaded_elsewhere(tmp_path / "data/benchmark/embedded.py", tmp_path)
    message = process.stderr.splitlines()[-1]
    assert process.returncode == 1 and "No module named 'pipeline'" in message
    assert str(tmp_path) in message and "Leave data/benchmark in a checkout" in message


TASKS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}


def _splits(name: str, **change: Any) -> dict[str, set[str]]:
    """The questions of every split of a task file, small."""
    small = {"train": 30, "test": 40, "refits": 30, "confirmation": 40}
    arguments: dict[str, Any] = TASKS[name]["dataset_kwargs"] | small | change
    return {split: set(rows["item"]) for split, rows in dataset(**arguments).items()}


@pytest.mark.parametrize("name", ["addition", "facts"])
def test_no_question_is_asked_in_two_splits_nor_where_a_sibling_develops(name: str) -> None:
    splits = _splits(name, salt="s")
    sizes = {split: len(questions) for split, questions in splits.items()}
    assert sizes == {"train": 30, "test": 40, "refits": 30, "confirmation": 40}
    assert len(set.union(*splits.values())) == 140
    for sibling in TASKS[name]["dataset_kwargs"].get("siblings", ()):
        asked = dataset("addition", sibling["levels"], sibling["seed"], train=1, test=sibling["test"])["test"]["item"]
        assert len(set(asked)) == 480 and not splits["confirmation"] & set(asked)


def test_another_salt_confirms_on_other_questions_and_leaves_the_other_splits_alone() -> None:
    first, second = _splits("agreement", salt="a"), _splits("agreement", salt="b")
    assert len(first.pop("confirmation") & second.pop("confirmation")) < 10
    assert first == second


def test_the_task_files_confirm_with_the_salt_and_the_samples_of_the_protocol() -> None:
    protocol = load(file_of("embedded"))
    for include in ("_choice", "_free"):
        metadata = yaml.safe_load((FOLDER / include).read_text().replace("!function", ""))["metadata"]
        assert (metadata["salt"], metadata["confirmation"]) == (protocol.salt, protocol.samples)


def test_tasks_of_one_computation_know_each_other_as_siblings() -> None:
    keys = ("levels", "seed", "test")
    for name, task in TASKS.items():
        own = task["dataset_kwargs"]
        others = [
            {key: other["dataset_kwargs"][key] for key in keys}
            for other_name, other in TASKS.items()
            if other_name != name and other["dataset_kwargs"]["computation"] == own["computation"]
        ]
        assert own.get("siblings", []) == others


def test_to_ask_whether_there_is_a_split_draws_none(monkeypatch: pytest.MonkeyPatch) -> None:
    splits = dataset("boolean", [1], 0, train=2, test=2, confirmation=2)
    monkeypatch.setattr("pipeline.tasks.embedded.dataset.documents", lambda *_, **_options: pytest.fail("drew"))
    assert "confirmation" in splits
    assert "refits" not in splits
