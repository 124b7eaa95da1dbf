"""The embedded benchmark as lm-eval sees it: a `custom_dataset` for the task files in data/benchmark.

Documents are made from the seed in the task file, so a task can be as large as its file asks for. Exact
truth comes with every document: computation, template, shots, level and the item's key are ordinary columns.
"""

from __future__ import annotations

from itertools import islice

from datasets import Dataset, DatasetDict

from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.documents import documents
from pipeline.tasks.embedded.drawn import Fields, drawn
from wina_amp.errors import UserError, unknown
from wina_amp.names import TEST, TRAIN


def dataset(
    computation: str,
    levels: list[int],
    seed: int,
    train: int,
    test: int,
    **metadata: object,
) -> DatasetDict:
    """The train and test split of one computation.

    Args:
        computation: one of the twelve computations.
        levels: levels of difficulty to draw from, each 1 to 6, equally often; repeats count.
        seed: seeds the drawing of documents; the splits stay disjoint whatever it is.
        train, test: number of documents in each split.
        metadata: accepted because lm-eval passes a task's metadata along, and on its command line the model's
            arguments; not used.
    """
    del metadata
    where = "dataset_kwargs of the task file"
    if computation not in COMPUTATIONS:
        raise unknown("computation", computation, COMPUTATIONS, where)
    if not levels or not set(levels) <= set(LEVELS):
        raise UserError(
            f"`levels` must be a list of numbers from {LEVELS[0]} to {LEVELS[-1]}",
            found=levels,
            where=where,
            remedy="give at least one known level",
        )
    sizes = {TRAIN: train, TEST: test}
    return DatasetDict(
        {split: Dataset.from_list(_fields(computation, split, levels, seed, size)) for split, size in sizes.items()}
    )


def _fields(computation: str, split: str, levels: list[int], seed: int, size: int) -> Fields:
    def draw() -> Fields:
        return [document.fields() for document in islice(documents(computation, split, tuple(levels), seed), size)]

    return drawn(draw, computation=computation, split=split, levels=levels, seed=seed, size=size)
