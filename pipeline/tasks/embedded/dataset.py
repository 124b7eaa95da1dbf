"""The embedded benchmark as lm-eval sees it: a `custom_dataset` for the task files in data/benchmark.

Documents are made from the seed in the task file, so a task can be as large as its file asks for. Exact truth comes
with every document: computation, template, shots, level and the item's key are ordinary columns.

A split is made when it is first asked for: most runs need two of the four, and drawing takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from datasets import Dataset

from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.documents import documents
from pipeline.tasks.embedded.drawn import Fields, drawn
from wina_amp.errors import UserError, unknown
from wina_amp.names import CONFIRMATION, REFITS, TEST, TRAIN

Source = dict[str, Any]
"""`computation`, `levels` and `seed` of documents."""


def dataset(
    computation: str,
    levels: list[int],
    seed: int,
    train: int,
    test: int,
    refits: int = 0,
    confirmation: int = 0,
    salt: str = "",
    siblings: Sequence[Mapping[str, Any]] = (),
    **metadata: object,
) -> Mapping[str, Dataset]:
    """The splits of one computation.

    `refits` has more documents of the items of `train`, no question of which `train` asks. `confirmation` has items of
    `test` that neither `test` nor a sibling's `test` asks about, from a stream named by the salt: nobody can have
    seen it before the salt was chosen.

    Args:
        computation: one of the twelve computations.
        levels: levels of difficulty to draw from, each 1 to 6, equally often; repeats count.
        seed: seeds the drawing of documents; the splits stay disjoint whatever it is.
        train, test, refits, confirmation: number of documents in each split.
        salt: of `confirmation`, the one of protocol.yaml.
        siblings: `levels`, `seed` and `test` of other tasks of the computation.
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
    own: Source = {"computation": computation, "levels": levels, "seed": seed}

    def refit_documents() -> Fields:
        return _fields(own, TRAIN, refits, stream=REFITS, excluded=_questions(own, TRAIN, train))

    def confirmation_documents() -> Fields:
        asked = _questions(own, TEST, test)
        for other in siblings:
            asked += _questions(own | {key: other[key] for key in ("levels", "seed")}, TEST, other["test"])
        return _fields(own, TEST, confirmation, stream=f"{CONFIRMATION}/{salt}", excluded=asked)

    makers: dict[str, Callable[[], Fields]] = {
        TRAIN: partial(_fields, own, TRAIN, train),
        TEST: partial(_fields, own, TEST, test),
        REFITS: refit_documents,
        CONFIRMATION: confirmation_documents,
    }
    sizes = {TRAIN: train, TEST: test, REFITS: refits, CONFIRMATION: confirmation}
    return _Splits({split: make for split, make in makers.items() if sizes[split]})


class _Splits(Mapping[str, Dataset]):
    """Splits by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], Fields]]) -> None:
        self._makers = makers
        self._made: dict[str, Dataset] = {}

    def __getitem__(self, split: str) -> Dataset:
        if split not in self._made:
            self._made[split] = Dataset.from_list(self._makers[split]())
        return self._made[split]

    def __contains__(self, split: object) -> bool:
        return split in self._makers  # which `Mapping` would make, to see

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _questions(source: Source, split: str, size: int) -> list[str]:
    return [str(fields["item"]) for fields in _fields(source, split, size)]


def _fields(
    source: Source, split: str, size: int, *, stream: str | None = None, excluded: Sequence[str] = ()
) -> Fields:
    """The fields of so many documents, from disk if they are there."""

    def draw() -> Fields:
        every = documents(
            source["computation"], split, tuple(source["levels"]), source["seed"], stream=stream, excluded=excluded
        )
        return [document.fields() for document in islice(every, size)]

    return drawn(draw, **source, split=split, size=size, stream=stream, excluded=sorted(set(excluded)))
