"""Slow, obvious transcriptions of the statistics: explicit resampling, `np.interp`, one replicate at a time."""

from __future__ import annotations

import numpy as np


def difference_at(score_a, sparsity_a, score_b, sparsity_b, at, draws):
    """Differences of two scores at `at`, one for every row of sample numbers in `draws`."""
    differences = []
    for draw in draws:
        values = []
        for score, sparsity in ((score_a, sparsity_a), (score_b, sparsity_b)):
            accuracy = [np.mean([row[i] for i in draw]) for row in score]
            realised = [np.mean([row[i] for i in draw]) for row in sparsity]
            values.append(np.interp(at, realised, accuracy))
        differences.append(values[0] - values[1])
    return np.array(differences)


def draws(samples, replicates, seed):
    """The sample numbers behind `pipeline.statistics.bootstrap.resampling_weights`."""
    return np.random.default_rng(seed).integers(0, samples, size=(replicates, samples))


def holm_slowly(p_values):
    """Holm's correction, step by step: the smallest of m counts m times, the next m - 1 times, and none below it."""
    left, corrected, highest = list(enumerate(p_values)), [0.0] * len(p_values), 0.0
    while left:
        position, smallest = min(left, key=lambda entry: entry[1])
        highest = max(highest, min(1.0, smallest * len(left)))
        corrected[position] = highest
        left.remove((position, smallest))
    return corrected


def task_bootstrap(values, tasks, replicates, seed):
    """Means of samples resampled within resampled tasks, one draw at a time."""
    generator, means = np.random.default_rng(seed), []
    members = [np.flatnonzero(tasks == task) for task in np.unique(tasks)]
    for _ in range(replicates):
        drawn = []
        for _ in members:
            own = members[generator.integers(len(members))]
            drawn += [values[own[generator.integers(len(own))]] for _ in own]
        means.append(np.mean(drawn))
    return np.array(means)
