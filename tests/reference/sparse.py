"""The mask of the papers, transcribed: scores, comparison, selection; one obvious line each."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pipeline.scoring import scores


def threshold_mask(
    x: Float[Tensor, "batch width in"],
    weights: Float[Tensor, " in"],
    thresholds: Float[Tensor, " batch"],
    eligible: Bool[Tensor, "batch width"],
) -> tuple[Float[Tensor, "batch width in"], Int[Tensor, " batch"]]:
    """The masked input and the number of features of eligible tokens that were kept, per row."""
    dropped = (scores(x, weights) <= thresholds[:, None, None]) & eligible[:, :, None]
    kept = (~dropped & eligible[:, :, None]).sum(dim=(1, 2))
    return torch.where(dropped, torch.zeros_like(x), x), kept
