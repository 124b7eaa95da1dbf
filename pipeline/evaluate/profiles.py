"""What masks the model while a method is evaluated. A module of its own: stages hand it to the processes that evaluate,
and need not import these processes' libraries for that."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Profiles:
    """What masks the model: a criterion, a kind of mask, and its values for every group, block and mask of it (float32
    thresholds, or for `topk` float64 sparsities; see `sparse.install.install`)."""

    criterion: str
    values: Float[Tensor, "groups blocks masks"]
    mask: str = "threshold"
