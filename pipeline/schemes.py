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

from pipeline.errors import UserError

SCHEMES = ("global", "activation", "task", "random")


def one_group(samples: int) -> Int[ndarray, " samples"]:
    """`global`: every sample in group 0."""
    return np.zeros(samples, dtype=np.int64)


def task_groups(tasks: Sequence[str], train: Bool[ndarray, " samples"]) -> Int[ndarray, " samples"]:
    """`task`: one group per task name, in alphabetical order.

    Raises:
        UserError: a test sample's task has no train sample, so that no profile could be built for it.
    """
    names, groups = np.unique(np.asarray(tasks, dtype=str), return_inverse=True)
    known = np.unique(groups[train])
    if len(known) < len(names):
        missing = [str(name) for number, name in enumerate(names) if number not in set(known.tolist())]
        raise UserError(
            "Every task needs train samples",
            found=f"none for {', '.join(missing[:3])} ({len(missing)} of {len(names)} tasks)",
            where="scheme `task`",
            remedy="raise `benchmark.train_samples` or remove the task from `benchmark.tasks`",
        )
    return groups.astype(np.int64)


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
