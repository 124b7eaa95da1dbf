"""Floating-point operations of a forward pass, counted from shapes: everything that runs, dense or masked.

One multiplication and one addition are two operations. With N tokens, d_in x d_out the shape of a projection, and L_t
the number of positions token t attends to (itself included):

    linear, dense      2 * N * W                           W: weights of all projections, the sum of d_in * d_out
    linear, masked     2 * (N * W - sum of Z * g)          Z: features a mask zeroed; g: weights that one of them gates
    scoring            2 * N_eligible * n                  per mask of n features: one multiplication, one comparison
    attention          4 * heads * head_dim * sum_t L_t    per block: QK^T and PV
    lm_head            2 * P * hidden * vocabulary         P: positions whose next token is predicted
    rotation           2 * N * d * d                       per rotated input of width d (`model.transform`)
    router             see `pipeline.compute.routing`

A mask on the input of a projection has n = d_in and g = d_out; one on the activated gate of an MLP gates a row of `up`
and a column of `down` (`wina_amp/models/mask_sites.py`). Z = N_eligible * n - K, K being the features that were kept.

Not counted, dense or masked: norms, activation functions, rotary embeddings, softmax, biases, embedding look-ups: all
linear in the width, together below 1% of a block, and the same for every method. Padding is not counted, and a prompt
that several choices share is counted once, because it runs once. Sums are float64: whole numbers up to 2^53 are exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """The sizes that compute depends on.

    Attributes:
        weights: of all projections of the model together.
        features: number of features of every mask; empty where the model runs dense.
        gated: weights that one feature of each mask gates, in the same order.
        blocks: number of blocks.
        queries: width of a block's queries, heads * head_dim: what `o` reads.
        hidden: width of the residual stream.
        vocabulary: rows of `lm_head`.
        rotations: width of every rotated input; empty for a model that is not transformed.
    """

    weights: int
    features: tuple[int, ...]
    gated: tuple[int, ...]
    blocks: int
    queries: int
    hidden: int
    vocabulary: int
    rotations: tuple[int, ...] = ()


@dataclass(frozen=True)
class Work:
    """The work done for each of n samples; every array is `[samples]` but `kept`.

    Attributes:
        tokens: tokens that passed through the blocks.
        attended: sum over those tokens of the positions each attends to.
        predicted: positions that `lm_head` was applied to.
        eligible: tokens that were scored and masked; 0 everywhere for the dense model.
        kept: `[samples, masks]`, features of eligible tokens that were kept.
    """

    tokens: NDArray[np.int64]
    attended: NDArray[np.int64]
    predicted: NDArray[np.int64]
    eligible: NDArray[np.int64]
    kept: NDArray[np.int64]


def attended(start: int, count: int) -> int:
    """Positions that `count` tokens behind `start` earlier ones attend to: sum of start + 1 ... start + count."""
    return count * start + count * (count + 1) // 2


def dense_flops(shape: Shape, work: Work) -> Numbers:
    """Operations of the dense model on the same tokens, per sample: the reference, which is never transformed."""
    return 2.0 * work.tokens * float(shape.weights) + _attention_and_head(shape, work)


def flops(shape: Shape, work: Work, router: Numbers | float = 0.0) -> Numbers:
    """Operations that remain when masked features are skipped, with scoring, rotations and those of a router, per
    sample."""
    scoring = 2.0 * work.eligible * float(sum(shape.features))
    rotation = 2.0 * work.tokens * float(np.dot(shape.rotations, shape.rotations))
    return dense_flops(shape, work) - 2.0 * _skipped(shape, work) + scoring + rotation + router


def realised_sparsity(shape: Shape, work: Work) -> Numbers:
    """Fraction of all projections' weights that eligible tokens skipped: zeroed features, weighted by the weights they
    gate; weights that no mask gates count as used. 0 where no token was eligible."""
    offered = work.eligible * float(shape.weights)
    return _skipped(shape, work) / np.maximum(offered, 1.0)


def sparsity_by_block(shape: Shape, work: Work) -> NDArray[np.float64]:
    """`realised_sparsity` of every block by itself, `[samples, blocks]`; blocks are of one size, so that it is their
    mean."""
    by_block = _skipped_by_mask(shape, work).reshape(len(work.eligible), shape.blocks, -1 if shape.features else 0)
    offered = work.eligible * (shape.weights / shape.blocks)
    return by_block.sum(axis=2) / np.maximum(offered, 1.0)[:, None]


def _skipped(shape: Shape, work: Work) -> Numbers:
    """Weights that need not be read, summed over the eligible tokens: the sum of Z * g."""
    return _skipped_by_mask(shape, work).sum(axis=1)


def _skipped_by_mask(shape: Shape, work: Work) -> NDArray[np.float64]:
    zeroed = work.eligible[:, None] * np.array(shape.features, np.float64) - work.kept
    return zeroed * np.array(shape.gated, np.float64)


def _attention_and_head(shape: Shape, work: Work) -> Numbers:
    attention = 4.0 * shape.blocks * shape.queries * work.attended
    return attention + 2.0 * shape.hidden * shape.vocabulary * work.predicted
