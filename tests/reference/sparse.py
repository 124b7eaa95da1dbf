"""The mask of the papers, transcribed: scores, comparison, selection; one obvious line each."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wina_amp.scoring.criteria import scores


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


def cats_mlp(
    x: Float[Tensor, "batch width hidden"],
    gate: Float[Tensor, "inner hidden"],
    up: Float[Tensor, "inner hidden"],
    down: Float[Tensor, "hidden inner"],
    activation: Callable[[Tensor], Tensor],
    keep: Callable[[Float[Tensor, " inner"]], Bool[Tensor, " inner"]],
    eligible: Bool[Tensor, "batch width"],
) -> tuple[Float[Tensor, "batch width hidden"], Int[Tensor, " batch"], int]:
    """A gated MLP of which every eligible token reads only the rows of up and the columns of down that are kept.

    Returns the output, the features kept per row, and how many weights the eligible tokens read.
    """
    output, kept, read = torch.empty(*x.shape[:2], len(down)), torch.zeros(len(x), dtype=torch.int64), 0
    for row in range(len(x)):
        for token in range(x.shape[1]):
            activated = activation(gate @ x[row, token])
            chosen = keep(activated).nonzero()[:, 0] if eligible[row, token] else torch.arange(len(gate))
            rows, columns = up[chosen], down[:, chosen]
            output[row, token] = columns @ (activated[chosen] * (rows @ x[row, token]))
            if eligible[row, token]:
                kept[row] += len(chosen)
                read += gate.numel() + rows.numel() + columns.numel()
    return output, kept, read
