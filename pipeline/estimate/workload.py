"""The samples' tokens that go through the model, from the table where it exists, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ASSUMED_TOKENS = 256
"""Of a prompt, where no samples are known. Zero-shot PIQA has some 40, five-shot MMLU some 700."""

ASSUMED_ANSWERS = 8
"""Tokens of all continuations of a sample together, where no samples are known."""

TASKS_OF_GROUP = {"mmlu": 57}
"""Tasks behind the name of a group, where no samples are known; other groups count as one task."""


@dataclass(frozen=True)
class Workload:
    """Samples as the model sees them; arrays are `[samples]`.

    Attributes:
        prompts: tokens of every prompt.
        answers: tokens of all continuations that are scored behind it, together; for generation of the right answer.
        right: tokens of the right answer.
        is_train: whether it is of the train split.
        is_generated: whether the answer is generated token by token.
        tasks: number of tasks.
        is_assumed: whether all of this is assumed.
    """

    prompts: NDArray[np.int64]
    answers: NDArray[np.int64]
    right: NDArray[np.int64]
    is_train: NDArray[np.bool_]
    is_generated: NDArray[np.bool_]
    tasks: int
    is_assumed: bool = False

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.prompts)

    def among_first(self, limits: Mapping[str, int | None]) -> NDArray[np.bool_]:
        """Whether a sample is among the first of its split: `limits[split]` a task on average; None, or none: all."""
        is_first = np.ones(self.samples, np.bool_)
        for split, limit in limits.items():
            is_split = self.is_train if split == "train" else ~self.is_train
            if limit is not None:
                is_first &= ~is_split | (np.cumsum(is_split) <= limit * self.tasks)
        return is_first


def from_samples(samples: Any) -> Workload:
    """The workload of a table of samples (`schemas.SAMPLES`); all choices are taken to be as long as the right one."""
    is_generated = (samples["kind"] == "generation").to_numpy()
    right = samples["answer_ids"].map(len).to_numpy()
    choices = np.maximum(samples["choices"].map(len).to_numpy(), 1)
    return Workload(
        prompts=samples["n_tokens"].to_numpy().astype(np.int64),
        answers=np.where(is_generated, right, choices * (right - 1)).astype(np.int64),
        right=right.astype(np.int64),
        is_train=(samples["split"] == "train").to_numpy(),
        is_generated=is_generated,
        tasks=int(samples["task"].nunique()),
    )


def assumed(tasks: Sequence[str], counts: Mapping[str, int]) -> Workload:
    """Every task has all its samples, of `ASSUMED_TOKENS` tokens; nothing is generated."""
    number = sum(TASKS_OF_GROUP.get(task, 1) for task in tasks)
    train, test = (number * counts[split] for split in ("train", "test"))
    return Workload(
        prompts=np.full(train + test, ASSUMED_TOKENS, np.int64),
        answers=np.full(train + test, ASSUMED_ANSWERS, np.int64),
        right=np.full(train + test, ASSUMED_ANSWERS // 4, np.int64),
        is_train=np.arange(train + test) < train,
        is_generated=np.zeros(train + test, np.bool_),
        tasks=number,
        is_assumed=True,
    )
