"""The schemes that need no learning: one group, one group per task, and the size-matched random control.

A scheme is a group number for every sample; everything after it (merging histograms, allocation, thresholds,
evaluation) is the same code for all of them, so the pooled profile is simply the scheme with one group. Groups are
numbered from 0 without gaps. The learned scheme, `activation`, is in `pipeline/clustering.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

SCHEMES = ("global", "activation", "task", "random")

NO_GROUP = -1
"""The group of a sample that has none; no such row is written."""


def one_group(samples: int) -> Int[ndarray, " samples"]:
    """`global`: every sample in group 0."""
    return np.zeros(samples, dtype=np.int64)


def task_groups(tasks: Sequence[str], train: Bool[ndarray, " samples"]) -> Int[ndarray, " samples"]:
    """`task`: one group per task name that has train samples, in alphabetical order.

    Test samples of other tasks get `NO_GROUP`: no profile can be built for them. A method that needs one is refused by
    the settings (`pipeline/config.py`), and again when it is evaluated.
    """
    known, names = np.unique(np.asarray(tasks, dtype=str)[train]), np.asarray(tasks, dtype=str)
    places = np.searchsorted(known, names).clip(max=len(known) - 1)
    return np.where(known[places] == names, places, NO_GROUP).astype(np.int64)


def shuffled_groups(
    groups: Int[ndarray, " samples"], train: Bool[ndarray, " samples"], seed: int
) -> Int[ndarray, " samples"]:
    """`random`: the given groups, permuted within each split, so that every group keeps its size in both splits.

    What a grouped method gains over this control is due to which samples are together, not to the number of groups.
    """
    generator = np.random.default_rng([seed, len(groups)])
    shuffled = groups.copy()
    for members in (np.flatnonzero(train), np.flatnonzero(~train)):
        shuffled[members] = groups[generator.permutation(members)]
    return shuffled
