"""`pipeline.tasks.selection`: documents chosen by content, disjoint splits, replacements for refused documents."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.tasks.loading import load_tasks
from pipeline.tasks.selection import select_documents
from pipeline.tasks.task_view import TaskView, doc_hash
from wina_amp.errors import UserError


def _ids(views: dict[str, TaskView], train: int, test: int) -> dict[str, list[int]]:
    return {split: choice.doc_ids for split, choice in select_documents(views, {"train": train, "test": test}).items()}


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
    with pytest.raises(UserError, match=r"must have documents for every split.*task one"):
        select_documents(load_tasks(tmp_path, ["one"])["one"], {"train": 5, "test": 5})


def test_a_refused_document_is_replaced_by_the_next_in_hash_order_and_counted(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["pick"])["pick"]
    plain = _ids(views, 4, 4)
    bad = {"test": {plain["test"][0], plain["test"][2]}, "train": {plain["train"][1]}}

    def refused(view: TaskView, doc_ids: Sequence[int]) -> list[int]:
        assert list(doc_ids) == sorted(doc_ids)
        return [doc_id for doc_id in doc_ids if doc_id in bad[view.split]]

    selected = select_documents(views, {"train": 4, "test": 4}, refused)
    assert (selected["test"].left_out, selected["train"].left_out) == (2, 1)
    wider = _ids(views, 6, 6)
    assert set(selected["test"].doc_ids) == set(wider["test"]) - bad["test"]
    assert len(selected["train"].doc_ids) == 4 and not set(selected["train"].doc_ids) & bad["train"]


def test_fewer_are_chosen_where_nothing_is_left_and_none_is_refused_by_name(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["pick"])["pick"]
    selected = select_documents(
        views, {"train": 14, "test": 14}, lambda _view, ids: [doc_id for doc_id in ids if doc_id < 5]
    )
    assert (len(selected["test"].doc_ids), selected["test"].left_out) == (9, 5)
    with pytest.raises(UserError, match=r"none for test \(14 in the task, 14 of them left out as too long\).*pick"):
        select_documents(views, {"train": 3, "test": 3}, lambda _view, ids: list(ids))


def test_shared_documents_stay_disjoint_when_some_are_refused(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["single"])["single"]
    selected = select_documents(
        views, {"train": 4, "test": 4}, lambda _view, ids: [doc_id for doc_id in ids if doc_id % 3 == 0]
    )
    assert not set(selected["train"].doc_ids) & set(selected["test"].doc_ids)
    assert all(doc_id % 3 for choice in selected.values() for doc_id in choice.doc_ids)


def test_a_task_for_one_purpose_gives_one_split(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["single"])["single"]
    assert len(select_documents(views, {"train": 100, "test": 0})["train"].doc_ids) == 14
    assert list(select_documents(views, {"train": 0, "test": 5})) == ["test"]
    with pytest.raises(UserError, match=r"documents for every split that is asked for\. Found: none for test"):
        select_documents({"train": views["train"]}, {"train": 3, "test": 3})


def _all(views: dict[str, TaskView], salt: str = "a") -> dict[str, set[str]]:
    counts = {"train": 2, "test": 2, "confirmation": 2}
    chosen = select_documents(views, counts, salt=salt)
    return {split: {doc_hash(views[split].documents[i]) for i in choice.doc_ids} for split, choice in chosen.items()}


@pytest.mark.parametrize("task", ["pick", "single"])
def test_every_refit_calibrates_on_documents_of_its_own_and_holds_out_the_same(tiny_tasks: Path, task: str):
    fits = [_all(load_tasks(tiny_tasks, [task], refit=refit)[task]) for refit in range(3)]
    for fit in fits:
        assert {split: len(keys) for split, keys in fit.items()} == {"train": 2, "test": 2, "confirmation": 2}
        assert fit["test"] == fits[0]["test"] and fit["confirmation"] == fits[0]["confirmation"]
    trained: list[str] = [key for fit in fits for key in fit["train"]]
    assert len(trained) == len(set(trained)) and not set(trained) & (fits[0]["test"] | fits[0]["confirmation"])


def test_the_salt_decides_what_is_confirmed_and_nothing_else(tiny_tasks: Path):
    views = load_tasks(tiny_tasks, ["pick"])["pick"]
    first, second = _all(views, "a"), _all(views, "b")
    assert first == _all(views, "a") and first["confirmation"] != second["confirmation"]
    assert (first["train"], first["test"]) == (second["train"], second["test"])
    without = _ids(views, 2, 2)
    assert first["test"] == {doc_hash(views["test"].documents[i]) for i in without["test"]}
    assert first["train"] == {doc_hash(views["train"].documents[i]) for i in without["train"]}


def test_a_refit_beyond_the_train_documents_is_refused(tiny_tasks: Path):
    with pytest.raises(UserError, match=r"every split that is asked for.*none for train.*task pick"):
        _all(load_tasks(tiny_tasks, ["pick"], refit=9)["pick"])
