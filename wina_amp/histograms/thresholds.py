"""Sparsity -> threshold: the quantile of a score histogram.

    t(s) = Q_s,  the score that a fraction s of the calibration scores does not exceed       (TEAL eq. 4, WINA eq. 6)

A score at or below its threshold is masked. The threshold is stored as the float32 that masks compare with. How close
the masked fraction comes to s is bounded by the histogram's resolution (`wina_amp/histograms/bins.py`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int
from numpy import ndarray

from wina_amp.histograms.bins import Bins


def thresholds(
    bins: Bins, counts: Int[ndarray, "*rows count"], sparsity: Float[ndarray, "*rows"]
) -> Float32[ndarray, "*rows"]:
    """The threshold of every row at its sparsity.

    Args:
        bins: the bins that `counts` were counted in.
        counts: dense histograms along the last axis; leading axes broadcast against `sparsity`.
        sparsity: fractions in [0, 1].

    Guarantee: 0 at sparsity 0 (only scores of 0, which contribute nothing, are masked); monotone in the sparsity; at
    sparsity 1 no calibration score below 2^24 is kept.

    Raises:
        ValueError: a sparsity outside [0, 1]; a histogram without scores.
    """
    return np.asarray(bins.quantile(counts, sparsity), dtype=np.float32)
