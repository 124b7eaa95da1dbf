"""The mask of the papers, transcribed: scores, comparison, selection; one obvious line each."""

from __future__ import annotations

import math
from fractions import Fraction

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


def topk_mask(
    x: Float[Tensor, "batch width in"],
    weights: Float[Tensor, " in"],
    sparsity: list[Fraction],
    eligible: Bool[Tensor, "batch width"],
) -> tuple[Float[Tensor, "batch width in"], list[int]]:
    """The same for the k largest scores of every token, token by token; `sparsity` of every row, exact."""
    masked, kept = x.clone(), [0] * len(x)
    every = scores(x, weights)
    for row in range(len(x)):
        k = math.floor(x.shape[2] * (1 - sparsity[row]))
        for token in range(x.shape[1]):
            if not eligible[row, token]:
                continue
            values = every[row, token].tolist()
            order = sorted(range(len(values)), key=lambda i: (-math.inf if math.isnan(values[i]) else -values[i], i))
            chosen = set(order[:k]) | {i for i, value in enumerate(values) if math.isnan(value)}
            for feature in range(len(values)):
                if feature not in chosen:
                    masked[row, token, feature] = 0
            kept[row] += len(chosen)
    return masked, kept
