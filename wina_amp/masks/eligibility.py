"""Token eligibility: the tokens that capture scores, masks act on, and realised sparsity and FLOPs count.

Padding never counts. The first tokens of a prompt (the dense prefix, attention sinks) stay dense, because errors there
are seen by every later token. Both are computed from lengths alone, never from attention masks or from the position in
a call, so that results depend neither on how a sequence is chunked nor on what it is batched with.

Rows are right-padded. Tokens after the prompt (answers, decoded tokens) are always eligible.
"""

from __future__ import annotations

from fractions import Fraction

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def eligible(
    prompt_lengths: Int[Tensor, " batch"],
    total_lengths: Int[Tensor, " batch"],
    width: int,
    dense_prefix: int | float,
) -> Bool[Tensor, "batch width"]:
    """True where a token is scored: position t of row b with `prefix(b) <= t < total_lengths[b]`.

    Args:
        prompt_lengths: prompt tokens of each row.
        total_lengths: prompt and continuation tokens of each row, at least the prompt's.
        width: tokens per row, padding included.
        dense_prefix: a whole number: that many first tokens of the prompt stay dense (all of them if the prompt is
            shorter); a fraction below 1: that fraction of the prompt, rounded up.

    Returns: on the device of the lengths.

    Raises:
        ValueError: `dense_prefix` is negative, or is a fraction that is not below 1.
    """
    positions = torch.arange(width, device=total_lengths.device)
    start = prefix_lengths(prompt_lengths, dense_prefix)
    return (positions >= start[:, None]) & (positions < total_lengths[:, None])


def prefix_lengths(prompt_lengths: Int[Tensor, " batch"], dense_prefix: int | float) -> Int[Tensor, " batch"]:
    """The number of first tokens of each prompt that stay dense; see `eligible`."""
    if isinstance(dense_prefix, int):
        if dense_prefix < 0:
            raise ValueError(f"dense_prefix must not be negative, got {dense_prefix}")
        return prompt_lengths.clamp(max=dense_prefix)
    if not 0 <= dense_prefix < 1:
        raise ValueError(f"dense_prefix must be a whole number or a fraction in [0, 1), got {dense_prefix}")
    # As a fraction of whole numbers: in floating point 0.07 * 100 is above 7, and rounding up would give 8.
    fraction = Fraction(str(dense_prefix)).limit_denominator(10**6)
    return (prompt_lengths * fraction.numerator + fraction.denominator - 1) // fraction.denominator
