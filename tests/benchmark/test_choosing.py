"""`pipeline.benchmark.choosing`: documents chosen by content, disjoint splits, replacements for refused documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.benchmark.choosing import choose
from pipeline.benchmark.tasks import load_tasks
from pipeline.benchmark.views import TaskView, doc_hash
from pipeline.errors import UserError


def _ids(views: dict[str, TaskView], train: int, test: int) -> dict[str, list[int]]:
    return {split: choice.doc_ids for split, choice in choose(views, {"train": train, "test": test}).items()}


def test_chosen_documents_depend_on_content_and_grow_with_the_count(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["pick"])["pick"]
    few, many = _ids(views, 3, 3), _ids(views, 9, 100)
    assert {split: len(ids) for split, ids in few.items()} == {"train": 3, "test": 3}
    assert set(few["train"]) < set(many["train"]) and set(few["test"]) < set(many["test"])
    assert len(many["test"]) == 14 and many["train"] == sorted(many["train"])
    last = max(doc_hash(views["test"].documents[i]) for i in few["test"])
    assert sum(doc_hash(doc) <= last for doc in views["test"].documents) == 3


def test_a_task_with_one_split_lends_disjoint_documents_to_both(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["single"])["single"]
    chosen = _ids(views, 100, 100)
    assert len(chosen["train"]) == len(chosen["test"]) == 7
    assert not set(chosen["train"]) & set(chosen["test"])


def test_a_task_whose_documents_are_all_taken_by_the_other_split_is_refused(tiny_tasks: Path, tmp_path: Path):
    (tmp_path / "words.py").write_text((tiny_tasks / "words.py").read_text())
    (tmp_path / "one.yaml").write_text(
        (tiny_tasks / "single.yaml").read_text().replace("single", "one").replace("[test]}", "[test], size: 1}")
    )
    with pytest.raises(UserError, match=r"must have documents for both splits.*task one"):
        choose(load_tasks(tmp_path, ["one"])["one"], {"train": 5, "test": 5})
