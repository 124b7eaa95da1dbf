"""The schemes that need no learning: one group per label, and the size-matched controls, random and length.

A scheme is a group number for every sample; everything after it (merging histograms, allocation, thresholds,
evaluation) is the same code for all of them, so the pooled profile is simply the scheme with one group. Groups are
numbered from 0 without gaps. The learned schemes, `activation` and `gradient`, are in `wina_amp/grouping/clustering.py`
and `pipeline/grouping/gradient_clusters.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.names import ACTIVATION_RANDOM_SCHEMES, GRADIENT_RANDOM_SCHEMES

NO_GROUP = -1
"""The group of a sample that has none; no such row is written."""


def draw_of(scheme: str) -> int:
    """The number of the draw that a scheme of `RANDOM_SCHEMES` is, from 0."""
    draws = ACTIVATION_RANDOM_SCHEMES if scheme in ACTIVATION_RANDOM_SCHEMES else GRADIENT_RANDOM_SCHEMES
    return draws.index(scheme)


def label_groups(labels: Sequence[str], train: Bool[ndarray, " samples"]) -> Int[ndarray, " samples"]:
    """A scheme of `LABEL_SCHEMES`: one group per label that has train samples, in alphabetical order.

    Samples without a label (empty) and test samples of other labels get `NO_GROUP`: no profile can be built for them
    (`check_labels`).
    """
    names = np.asarray(labels, dtype=str)
    known = np.unique(names[train & (names != "")])
    if not len(known):
        return np.full(len(names), NO_GROUP, dtype=np.int64)
    numbers = np.searchsorted(known, names).clip(max=len(known) - 1)
    return np.where(known[numbers] == names, numbers, NO_GROUP).astype(np.int64)


def check_labels(scheme: str, sample_ids: Sequence[str], groups: Int[ndarray, " samples"]) -> None:
    """Refuse a scheme of labels that leaves samples without a group.

    Raises:
        UserError: names the scheme, how many samples have no group, and one of them.
    """
    lost = np.flatnonzero(groups == NO_GROUP)
    if len(lost):
        raise UserError(
            f"The scheme `{scheme}` needs a {scheme} label of every sample, and train samples with each label",
            found=f"{len(lost)} of {len(groups)} samples without, for example {sample_ids[lost[0]]}",
            where="`schemes` in params.yaml",
            remedy=f"take `{scheme}` out of `schemes`, with the profile sets and methods that use it",
        )


def length_groups(
    tokens: Int[ndarray, " samples"], groups: Int[ndarray, " samples"], train: Bool[ndarray, " samples"], seed: int
) -> Int[ndarray, " samples"]:
    """`length`: ranges of prompt length, as many and as large in each split as the given groups.

    The shortest prompts get the number of the group whose train samples are shortest on average, and so on: what the
    given groups would be if they followed length and nothing else. Equal lengths at a border are assigned by chance.

    Args:
        tokens: length of every prompt.
        groups: the groups to match, from 0 without gaps.
        train: samples that decide the order of the groups.
        seed: of the order of equal lengths.
    """
    sizes = np.bincount(groups[train])
    order = np.argsort(np.bincount(groups[train], weights=tokens[train]) / sizes, kind="stable")
    ties = np.random.default_rng([seed, len(groups)]).permutation(len(groups))
    matched = np.empty_like(groups)
    for members in (np.flatnonzero(train), np.flatnonzero(~train)):
        ranked = members[np.lexsort((ties[members], tokens[members]))]
        matched[ranked] = np.repeat(order, np.bincount(groups[members], minlength=len(order))[order])
    return matched


def shuffled_groups(
    groups: Int[ndarray, " samples"], train: Bool[ndarray, " samples"], seed: int, draw: int = 0
) -> Int[ndarray, " samples"]:
    """A scheme of `RANDOM_SCHEMES`: the given groups, permuted within each split, so that every group keeps its size.

    What a grouped method gains over this control is due to which samples are together, not to the number of groups.
    `draw` numbers independent permutations.
    """
    generator = np.random.default_rng([seed, len(groups), draw])
    shuffled = groups.copy()
    for members in (np.flatnonzero(train), np.flatnonzero(~train)):
        shuffled[members] = groups[generator.permutation(members)]
    return shuffled
