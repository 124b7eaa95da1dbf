"""The sequences that are decoded: real text of any length, the same for every method.

How many inputs a step keeps depends on the tokens, so random ones will not do. Samples of the benchmark are shorter
than contexts may be; a sequence is therefore one sample's prompt with those of the following samples behind it. The
tokens of the timed steps are given, too: dense and sparse steps run on the same ones, whatever they would have chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor


@dataclass(frozen=True)
class Texts:
    """Sequences of one batch.

    Attributes:
        ids: token ids, int64.
        first: number of the sample that each sequence begins with; its group is the sequence's.
    """

    ids: Int[Tensor, "batch width"]
    first: Int[ndarray, " batch"]


def texts(prompts: Sequence[Int[ndarray, " tokens"]], batch: int, width: int) -> Texts:
    """`batch` sequences of `width` tokens, begun at samples that lie evenly apart; the last is followed by the first.

    Raises:
        ValueError: there are no tokens.
    """
    if not sum(map(len, prompts)):
        raise ValueError("there must be tokens to decode, all prompts are empty")
    first = np.arange(batch) * len(prompts) // batch
    ids = [_from(prompts, int(start), width) for start in first]
    return Texts(torch.from_numpy(np.stack(ids)), first)


def _from(prompts: Sequence[Int[ndarray, " tokens"]], start: int, width: int) -> Int[ndarray, " width"]:
    parts: list[Int[ndarray, " tokens"]] = []
    have = 0
    while have < width:
        parts.append(np.asarray(prompts[start % len(prompts)], np.int64))
        have += len(parts[-1])
        start += 1
    return np.concatenate(parts)[:width]
