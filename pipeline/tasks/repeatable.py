"""Prompts that are the same in every process, and for a document whatever others it is asked with.

Three things could move them. Functions of a task may draw from Python's or numpy's global generators (gpqa shuffles its
choices); lm-eval's command line seeds both, and so does `fixed_randomness`. Solved examples are drawn one document
after the other; `drawn_examples` gives a document those that it has when lm-eval asks about all documents. The clock
that a chat template may read is stopped in `pipeline/tokens/chat.py`.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from lm_eval.api.samplers import ContextSampler, FirstNSampler

_PYTHON_SEED, _NUMPY_SEED, _FEWSHOT_SEED = 0, 1234, 1234
"""lm-eval's own defaults, so that prompts are those of its command line."""

Document = Mapping[str, Any]


@contextmanager
def fixed_randomness() -> Generator[None]:
    """Seed Python's and numpy's global generators as lm-eval's command line does; afterwards they are what they were.

    Set order and hashes are not covered: they depend on PYTHONHASHSEED, which `make` sets.
    """
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(_PYTHON_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class DrawnExamples(ContextSampler):
    """Solved examples that have been drawn already, for one document after the other."""

    def __init__(self, drawn: Sequence[Sequence[Document]]) -> None:
        super().__init__()
        self._drawn = drawn
        self._next = iter(drawn)

    def sample(self, n: int, eval_doc: Any = None, df: Any = None, **_kwargs: Any) -> Any:
        """The next document's."""
        return next(self._next)

    def set_rnd(self, rnd: int | None) -> DrawnExamples:
        """Begin with the first document again: lm-eval calls it before it asks."""
        self._next = iter(self._drawn)
        return self


def drawn_examples(
    task: Any, doc_ids: Sequence[int], read: Callable[[Sequence[int]], Sequence[Document]]
) -> DrawnExamples:
    """The solved examples of some documents, as lm-eval draws them when it goes through all documents of the task.

    Args:
        task: a task with a sampler and a number of solved examples.
        doc_ids: in the order in which they will be asked about.
        read: documents by their numbers.
    """
    sampler = copy.copy(task.sampler).set_rnd(_FEWSHOT_SEED)
    number = cast(int, task.config.num_fewshot)
    # Every draw moves the generator, so those of documents in between are made, too; the first N need none.
    asked = sorted(doc_ids) if isinstance(sampler, FirstNSampler) else range(max(doc_ids) + 1)
    excludes = task.fewshot_cfg.split == task.config.test_split
    left_out: Sequence[Any] = read(asked) if excludes else [None] * len(asked)
    drawn = {doc_id: sampler.sample(number, eval_doc=doc) for doc_id, doc in zip(asked, left_out, strict=True)}
    return DrawnExamples([drawn[doc_id] for doc_id in doc_ids])
