"""The disjoint parts of the embedded benchmark's items, decided item by item from the item's hash.

An item's part depends on nothing but its content (`Problem.key`), so no item can be in the model's training, in train
and in test, whatever seed, size, template or number of shots a data set is generated with. Solved examples in front of
a question come from the question's own part. The split `confirmation` is made of the items of `test` that no
development document asks about (`pipeline/tasks/embedded/dataset.py`).
"""

from __future__ import annotations

import random

from pipeline.tasks.embedded.problem import Maker, Problem
from wina_amp.names import TEST, TRAIN

MODEL_TRAINING = "model-training"
BUCKETS = {MODEL_TRAINING: range(0, 80), TRAIN: range(80, 90), TEST: range(90, 100)}


def split_of(problem: Problem) -> str:
    """The one split whose hash buckets contain this item."""
    return next(split for split, buckets in BUCKETS.items() if problem.bucket in buckets)


def draw(maker: Maker, rng: random.Random, level: int, split: str) -> Problem:
    """Draw problems until one falls into `split` (ten tries on average for train and test)."""
    while True:
        problem = maker(rng, level)
        if split_of(problem) == split:
            return problem
