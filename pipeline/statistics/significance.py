"""p-values of an agreement of two labelings and of a bootstrapped difference, and their correction by Holm's method.

A permutation test asks how often chance alone makes two labelings agree as well (it assumes nothing but that samples
are exchangeable). A bootstrap p-value inverts the percentile interval, so a p-value and the interval beside it cannot
contradict each other. Holm's correction bounds the chance of ANY false claim in a family of comparisons, whatever their
dependence.

Both kinds of p-value count themselves among the replicates (Davison and Hinkley, 1997, 4.2): none is 0, and the
smallest that can be shown is set by the number of replicates (`fewest_replicates`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from pipeline.statistics.agreement import contingency

CHUNK = 1_000_000
"""Permuted codes held at a time."""
ROUNDING = 1e-9
"""Sums of n log n over the same cells in another order differ by less; closer tables count as equally extreme."""


def permutation_p(a: ArrayLike, b: ArrayLike, *, permutations: int, seed: int) -> float:
    """p-value of "the labelings are independent": how often random labelings with these class sizes agree as well.

    `p = (1 + #{I(A; B') >= I(A; B)}) / (1 + permutations)`, B' a random permutation of B. Sizes stay as they are, so
    mutual information I, NMI and `sum of n_ij log n_ij` (what is computed) order the tables in the same way.

    Guarantee: if the labelings are independent given their sizes, `P(p <= alpha) <= alpha` for every alpha.

    Raises:
        ValueError: labelings of different length, or no permutation.
    """
    if permutations < 1:
        raise ValueError(f"at least one permutation is needed; got {permutations}")
    table = contingency(a, b)
    rows, columns = (np.unique(np.asarray(labels), return_inverse=True)[1] for labels in (a, b))
    counts = np.arange(len(rows) + 1, dtype=np.float64)
    weight = counts * np.log(np.maximum(counts, 1))
    observed = weight[table].sum() - ROUNDING
    generator = np.random.default_rng(seed)
    cells, size = table.size, max(1, CHUNK // len(rows))
    as_extreme = 0
    for start in range(0, permutations, size):
        drawn = generator.permuted(np.tile(columns, (min(size, permutations - start), 1)), axis=1)
        flat = rows * table.shape[1] + drawn + np.arange(len(drawn))[:, None] * cells
        tables = np.bincount(flat.ravel(), minlength=len(drawn) * cells).reshape(len(drawn), cells)
        as_extreme += int((weight[tables].sum(axis=1) >= observed).sum())
    return (1 + as_extreme) / (1 + permutations)


def bootstrap_p(draws: Float[np.ndarray, " replicates"]) -> float:
    """Two-sided p-value of "the true value is 0", from bootstrap replicates of an estimate.

    `p = 2 (1 + min(#{d <= 0}, #{d >= 0})) / (1 + replicates)`, at most 1.

    Guarantee: where `p < alpha`, the percentile interval of coverage 1 - alpha of the same replicates excludes 0.

    Raises:
        ValueError: no replicate.
    """
    if len(draws) < 1:
        raise ValueError("at least one replicate is needed; got none")
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (1 + tail) / (1 + len(draws)))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm, 1979), in the given order.

    With p sorted ascending, `corrected(i) = max over j <= i of min(1, (m - j) p(j))`, j from 0, m p-values.

    Guarantee: claiming where `corrected < alpha` makes any false claim with probability of at most alpha.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.minimum(values[order] * (len(values) - np.arange(len(values))), 1.0)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(steps) if len(values) else steps
    return corrected.tolist()


def fewest_replicates(comparisons: int, alpha: float) -> int:
    """Bootstrap replicates with which one of so many comparisons can have a corrected p-value below `alpha`.

    `2 comparisons / (1 + replicates) < alpha` where no replicate lies on the other side of 0.
    """
    return math.floor(2 * comparisons / alpha) + 1
