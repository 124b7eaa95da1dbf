"""The first samples of every task: as many as asked for, the same however many more there are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluate.first_samples import among_first
from pipeline.tasks.loading import load_tasks
from pipeline.tasks.selection import select_documents
from pipeline.tasks.task_view import Prompting


def _samples(**counts: int) -> pd.DataFrame:
    rows = [
        {"split": split, "task": task, "doc_hash": hashlib.sha256(f"{task}{split}{doc}".encode()).hexdigest()}
        for task, count in counts.items()
        for split in ("train", "test")
        for doc in range(count)
    ]
    return pd.DataFrame(rows)


def _slow(samples: pd.DataFrame, limits: dict[str, int | None]) -> list[bool]:
    is_first = []
    for row in samples.to_dict("records"):
        before = [
            other
            for other in samples.to_dict("records")
            if (other["split"], other["task"]) == (row["split"], row["task"]) and other["doc_hash"] < row["doc_hash"]
        ]
        limit = limits.get(row["split"])
        is_first.append(limit is None or len(before) < limit)
    return is_first


def test_it_is_the_count_of_smaller_hashes_of_the_same_task_and_split():
    samples = _samples(a=9, b=4)
    for limits in ({"train": 2, "test": 5}, {"train": 1, "test": None}, {"test": 3}, {}):
        assert among_first(samples, limits).tolist() == _slow(samples, limits)


def test_order_and_index_of_the_rows_do_not_matter():
    samples = _samples(a=9, b=4)
    order = np.random.default_rng(0).permutation(len(samples))
    shuffled = samples.iloc[order].set_index("task", drop=False)
    limits = {"train": 2, "test": 3}
    assert among_first(shuffled, limits).tolist() == among_first(samples, limits)[order].tolist()


def test_the_first_ones_are_those_that_prepare_takes_if_it_takes_no_more(tiny_tasks: Path):
    tasks = load_tasks(str(tiny_tasks), ("pick",), Prompting())["pick"]

    def taken(count: int) -> pd.DataFrame:
        hashes = dict(enumerate(tasks["test"].hashes))
        doc_ids = select_documents(tasks, {"train": 0, "test": count})["test"].doc_ids
        return pd.DataFrame({"split": "test", "task": "pick", "doc_hash": {doc: hashes[doc] for doc in doc_ids}})

    few, many = taken(4), taken(11)
    assert len(few) == 4 and len(many) == 11
    assert set(many.index[among_first(many, {"test": 4})]) == set(few.index)
