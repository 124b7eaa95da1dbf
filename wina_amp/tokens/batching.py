"""Batches of sequences under a token budget: the same samples are always batched together.

Sequences are ordered by length, then by id, so that little is spent on padding, and batches do not depend on the order
in which samples were read. That matters beyond speed: in low precision a result depends slightly on what it is batched
with, so every method must see the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], ids: Sequence[str] | Sequence[int], budget: int) -> list[list[int]]:
    """Partition the sequences into batches, shortest first.

    Args:
        lengths: tokens of each sequence.
        ids: unique name or number of each sequence, which breaks ties.
        budget: most tokens in a batch, padding to its longest sequence included; a longer sequence gets its own batch.

    Returns: positions in `lengths`; every position occurs once.
    """
    planned: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lambda i: (lengths[i], ids[i])):
        if planned and (len(planned[-1]) + 1) * lengths[position] <= budget:
            planned[-1].append(position)
        else:
            planned.append([position])
    return planned
