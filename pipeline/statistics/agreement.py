"""Agreement of two labelings of the same samples: NMI, ARI and purity, with bootstrap intervals.

Samples are resampled on the contingency table (a multinomial over its cells), which is the bootstrap over samples at
the cost of the table instead of the samples.

NMI is never negative, so its interval cannot contain 0, and independent labels show a small positive value (about
`(A-1)(B-1)/(2 n H)`). Read ARI, which is adjusted for chance, for the question "is there any agreement at all".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from pipeline.statistics.bootstrap import Interval, percentile_interval

CELLS = 5_000_000
"""Cells of resampled three-way tables that are held at a time."""


@dataclass(frozen=True)
class Agreement:
    """How far two labelings agree; all three are 1 for equal partitions.

    Attributes:
        nmi: normalised mutual information (`normalized_mutual_information`).
        ari: adjusted Rand index (`adjusted_rand_index`).
        purity: fraction of the samples that have the commonest second label of their first, `sum over g of max over l
            of n_gl / n`. Not symmetric and not adjusted for chance: it is at least the fraction of the commonest label,
            and many small groups are pure by themselves.
    """

    nmi: Interval
    ari: Interval
    purity: Interval


def contingency(a: ArrayLike, b: ArrayLike) -> Int[np.ndarray, "labels_a labels_b"]:
    """Count how often each label of `a` meets each label of `b` (labels of any sortable type, sorted).

    Raises:
        ValueError: the labelings are empty or differ in length.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1 or first.size == 0:
        raise ValueError(f"two labelings of the same samples are needed; got shapes {first.shape} and {second.shape}")
    number_a, codes_a = _coded(first)
    number_b, codes_b = _coded(second)
    flat = np.bincount(codes_a * number_b + codes_b, minlength=number_a * number_b)
    return flat.reshape(number_a, number_b)


def normalized_mutual_information(a: ArrayLike, b: ArrayLike) -> float:
    """`2 I(A;B) / (H(A) + H(B))`, in [0, 1]; 1 for equal partitions, two constant labelings included."""
    return float(_nmi(contingency(a, b)[None])[0])


def adjusted_rand_index(a: ArrayLike, b: ArrayLike) -> float:
    """Rand index adjusted for chance (Hubert and Arabie, 1985): 1 for equal partitions, 0 expected for independent."""
    return float(_ari(contingency(a, b)[None])[0])


def agreement(a: ArrayLike, b: ArrayLike, *, replicates: int, confidence: float, seed: int) -> Agreement:
    """NMI, ARI and purity of two labelings with percentile intervals over resampled samples.

    Cost: `replicates` x cells of the contingency table, whatever the number of samples.
    """
    table = contingency(a, b)
    total = int(table.sum())
    drawn = np.random.default_rng(seed).multinomial(total, table.ravel() / total, size=replicates)
    tables = drawn.reshape(replicates, *table.shape)
    nmi, ari, purity = (
        percentile_interval(float(measure(table[None])[0]), measure(tables), confidence)
        for measure in (_nmi, _ari, _purity)
    )
    return Agreement(nmi, ari, purity)


def nmi_difference(
    first: ArrayLike, second: ArrayLike, labels: ArrayLike, *, replicates: int, confidence: float, seed: int
) -> Interval:
    """NMI(second; labels) - NMI(first; labels) of two groupings of the same samples, paired over resampled samples.

    Samples are resampled on the three-way table of both groupings and the labels, so both NMIs of a replicate are of
    the same samples.
    """
    sizes, cells = zip(*(_coded(labeling) for labeling in (first, second, labels)), strict=True)
    table = np.bincount(np.ravel_multi_index(cells, sizes), minlength=int(np.prod(sizes)))
    generator, total = np.random.default_rng(seed), int(table.sum())
    differences = [_nmi_difference(table[None], sizes)]
    for start in range(0, replicates, step := max(1, CELLS // table.size)):
        drawn = generator.multinomial(total, table / total, size=min(step, replicates - start))
        differences.append(_nmi_difference(drawn, sizes))
    return percentile_interval(float(differences[0][0]), np.concatenate(differences[1:]), confidence)


def _coded(labels: ArrayLike) -> tuple[int, Int[np.ndarray, " samples"]]:
    """The number of different labels, and the number of each sample's label in their order."""
    names, codes = np.unique(np.asarray(labels), return_inverse=True)
    return len(names), codes


def _entropy(counts: Float[np.ndarray, "tables cells"]) -> Float[np.ndarray, " tables"]:
    fraction = counts / counts.sum(axis=1, keepdims=True)
    return -np.sum(fraction * np.log(fraction, out=np.zeros_like(fraction), where=fraction > 0), axis=1)


def _nmi(tables: Int[np.ndarray, "tables labels_a labels_b"]) -> Float[np.ndarray, " tables"]:
    rows, columns = _entropy(tables.sum(axis=2)), _entropy(tables.sum(axis=1))
    mutual = np.maximum(rows + columns - _entropy(tables.reshape(len(tables), -1)), 0.0)
    norm = (rows + columns) / 2
    return np.minimum(np.divide(mutual, norm, out=np.ones_like(norm), where=norm > 0), 1.0)


def _nmi_difference(tables: Int[np.ndarray, "tables cells"], sizes: tuple[int, ...]) -> Float[np.ndarray, " tables"]:
    cubes = tables.reshape(len(tables), *sizes)
    return _nmi(cubes.sum(axis=1)) - _nmi(cubes.sum(axis=2))


def _pairs(counts: Float[np.ndarray, "tables cells"]) -> Float[np.ndarray, " tables"]:
    numbers = counts.astype(np.float64)
    return np.sum(numbers * (numbers - 1) / 2, axis=1)


def _ari(tables: Int[np.ndarray, "tables labels_a labels_b"]) -> Float[np.ndarray, " tables"]:
    rows, columns = _pairs(tables.sum(axis=2)), _pairs(tables.sum(axis=1))
    both = _pairs(tables.reshape(len(tables), -1))
    total = _pairs(tables.sum(axis=(1, 2))[:, None])
    expected = np.divide(rows * columns, total, out=np.zeros_like(total), where=total > 0)
    spread = (rows + columns) / 2 - expected
    return np.divide(both - expected, spread, out=np.ones_like(spread), where=spread > 0)


def _purity(tables: Int[np.ndarray, "tables groups labels"]) -> Float[np.ndarray, " tables"]:
    return tables.max(axis=2).sum(axis=1) / tables.sum(axis=(1, 2))
