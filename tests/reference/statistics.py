"""Slow, obvious transcriptions of the statistics: explicit resampling, `np.interp`, one replicate at a time."""

from __future__ import annotations

import numpy as np


def difference_at(score_a, sparsity_a, score_b, sparsity_b, at, draws):
    """One paired difference for every row of sample numbers in `draws`."""
    found = []
    for draw in draws:
        values = []
        for score, sparsity in ((score_a, sparsity_a), (score_b, sparsity_b)):
            accuracy = [np.mean([row[i] for i in draw]) for row in score]
            realised = [np.mean([row[i] for i in draw]) for row in sparsity]
            values.append(np.interp(at, realised, accuracy))
        found.append(values[0] - values[1])
    return np.array(found)


def draws(samples, replicates, seed):
    """The sample numbers behind `pipeline.statistics.resampling_weights`."""
    return np.random.default_rng(seed).integers(0, samples, size=(replicates, samples))
