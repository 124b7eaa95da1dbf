"""`pipeline.schemes`: groups are numbered without gaps, and the random control has the sizes it controls for."""

from __future__ import annotations

import numpy as np

from pipeline.schemes import NO_GROUP, one_group, shuffled_groups, task_groups

TRAIN = np.arange(100) < 60


def test_global_is_one_group() -> None:
    assert one_group(5).tolist() == [0] * 5


def test_tasks_are_numbered_in_alphabetical_order_whatever_the_order_of_samples() -> None:
    tasks = ["sorting", "addition", "facts"] * 10
    train = np.arange(30) < 20
    assert task_groups(tasks, train)[:3].tolist() == [2, 0, 1]
    assert task_groups(tasks[::-1], train).tolist() == task_groups(tasks, train)[::-1].tolist()


def test_test_samples_of_a_task_without_train_samples_have_no_group() -> None:
    tasks = ["addition", "addition", "facts", "arc", "text", "text"]
    train = np.array([True, False, False, False, True, False])
    assert task_groups(tasks, train).tolist() == [0, 0, NO_GROUP, NO_GROUP, 1, 1]


def test_random_groups_keep_the_sizes_of_both_splits_but_not_the_members() -> None:
    groups = np.random.default_rng(0).choice(4, 100, p=[0.5, 0.3, 0.1, 0.1])
    shuffled = shuffled_groups(groups, TRAIN, seed=1)
    for split in (TRAIN, ~TRAIN):
        assert np.bincount(shuffled[split], minlength=4).tolist() == np.bincount(groups[split], minlength=4).tolist()
    assert (shuffled != groups).mean() > 0.3  # two independent draws of these sizes disagree on 64%


def test_random_groups_are_a_function_of_the_seed() -> None:
    groups = np.arange(100) % 4
    assert np.array_equal(shuffled_groups(groups, TRAIN, seed=1), shuffled_groups(groups, TRAIN, seed=1))
    assert not np.array_equal(shuffled_groups(groups, TRAIN, seed=1), shuffled_groups(groups, TRAIN, seed=2))
