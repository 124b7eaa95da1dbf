"""`pipeline.grouping.schemes`: groups are numbered without gaps, and the random control has the sizes it controls
for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from pipeline.grouping.schemes import NO_GROUP, check_labels, label_groups, length_groups, shuffled_groups
from wina_amp.errors import UserError

TRAIN = np.arange(100) < 60


def test_tasks_are_numbered_in_alphabetical_order_whatever_the_order_of_samples() -> None:
    tasks = ["sorting", "addition", "facts"] * 10
    train = np.arange(30) < 20
    assert label_groups(tasks, train)[:3].tolist() == [2, 0, 1]
    assert label_groups(tasks[::-1], train).tolist() == label_groups(tasks, train)[::-1].tolist()


def test_test_samples_of_a_task_without_train_samples_have_no_group() -> None:
    tasks = ["addition", "addition", "facts", "arc", "text", "text"]
    train = np.array([True, False, False, False, True, False])
    assert label_groups(tasks, train).tolist() == [0, 0, NO_GROUP, NO_GROUP, 1, 1]


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


def test_draws_of_the_random_control_are_different_and_the_first_is_the_default() -> None:
    groups = np.arange(100) % 4
    draws = [shuffled_groups(groups, TRAIN, 1, draw) for draw in range(3)]
    assert np.array_equal(draws[0], shuffled_groups(groups, TRAIN, 1))
    assert all((draws[i] != draws[j]).mean() > 0.5 for i, j in ((0, 1), (0, 2), (1, 2)))  # 75% of independent draws


def test_samples_without_a_label_have_no_group_and_a_scheme_that_needs_one_is_refused() -> None:
    labels, train = ["sum", "", "sort", "copy"], np.array([True, True, True, False])
    groups = label_groups(labels, train)
    assert groups.tolist() == [1, NO_GROUP, 0, NO_GROUP]
    with pytest.raises(
        UserError, match=r"`template` needs a template label of every.*2 of 4 samples without, for example b.*`schemes`"
    ):
        check_labels("template", ["a", "b", "c", "d"], groups)
    check_labels("template", ["a", "c"], groups[[0, 2]])
    assert label_groups(["", ""], np.array([True, False])).tolist() == [NO_GROUP, NO_GROUP]


def test_length_groups_have_the_sizes_of_the_given_groups_and_are_ranges_of_length() -> None:
    rng = np.random.default_rng(0)
    groups, tokens = rng.choice(4, 100, p=[0.5, 0.3, 0.1, 0.1]), rng.integers(5, 30, 100)
    matched = length_groups(tokens, groups, TRAIN, seed=0)
    for split in (TRAIN, ~TRAIN):
        assert np.bincount(matched[split], minlength=4).tolist() == np.bincount(groups[split], minlength=4).tolist()
        order = np.argsort([tokens[split & (matched == group)].mean() for group in range(4)])
        ends = [(tokens[split & (matched == group)].min(), tokens[split & (matched == group)].max()) for group in order]
        assert all(before[1] <= after[0] for before, after in pairwise(ends))


def test_groups_that_follow_length_are_found_again() -> None:
    tokens = np.random.default_rng(0).permutation(100)
    groups = np.where(tokens < 40, 2, np.where(tokens < 70, 0, 1))
    assert np.array_equal(length_groups(tokens, groups, TRAIN, seed=0), groups)


def test_equal_lengths_are_told_apart_by_the_seed_and_not_by_their_place_in_the_table() -> None:
    groups, tokens = np.repeat([0, 1], 50), np.full(100, 7)
    matched = length_groups(tokens, groups, np.ones(100, dtype=bool), seed=0)
    assert 10 < matched[:50].sum() < 40  # 25 expected, three standard errors of 2.5
    assert not np.array_equal(matched, length_groups(tokens, groups, np.ones(100, dtype=bool), seed=1))
