"""The bootstrap over tasks: redraw tasks, then the samples within every redrawn task.

The bootstrap over samples says how a difference would vary with other items of the SAME tasks. Whether it would hold on
other tasks like these is a different question, with a wider answer: items of a task succeed and fail together. Both
levels are redrawn with replacement (Davison and Hinkley, 1997, 3.8); with few tasks the answer is rough.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped


def hierarchical_weights(
    tasks: Shaped[np.ndarray, " samples"], replicates: int, seed: int
) -> Float[np.ndarray, "replicates samples"]:
    """Every sample's share in each replicate: rows sum to 1, `weights @ values` are the replicates' means over samples.

    A replicate draws as many tasks as there are, with replacement, and for every draw of a task as many of its samples
    as it has, with replacement. A task drawn m times gives m draws of its n samples, which is one multinomial of m n
    trials; so no loop over replicates is needed. Larger tasks weigh more, as in the mean over samples.

    Raises:
        ValueError: no sample or no replicate.
    """
    if len(tasks) < 1 or replicates < 1:
        raise ValueError(f"at least one sample and one replicate are needed; got {len(tasks)} and {replicates}")
    generator = np.random.default_rng(seed)
    names, codes = np.unique(tasks, return_inverse=True)
    times = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    counts = np.zeros((replicates, len(tasks)))
    for task in range(len(names)):
        mine = np.flatnonzero(codes == task)
        counts[:, mine] = generator.multinomial(times[:, task] * len(mine), np.full(len(mine), 1 / len(mine)))
    return counts / counts.sum(axis=1, keepdims=True)
