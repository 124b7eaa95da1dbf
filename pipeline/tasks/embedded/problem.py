"""An item of the benchmark before it is worded: a body to read, the right answer, and wrong answers close to it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

CHOICES = 4


@dataclass(frozen=True)
class Problem:
    """One item before it is worded.

    Attributes:
        computation: of `COMPUTATIONS`.
        level: difficulty, from 1.
        subject: subject label where the item has one, else empty.
        body: what the item is about, words separated by single spaces.
        answer: the right answer, likewise.
        distractors: wrong answers, hardest first, none equal to the answer.
    """

    computation: str
    level: int
    subject: str
    body: str
    answer: str
    distractors: tuple[str, ...]

    @property
    def key(self) -> str:
        """Identity of the item whatever its wording: the same question in another template is the same item."""
        return f"{self.computation}|{self.body}|{self.answer}"

    @property
    def bucket(self) -> int:
        """A number below 100 from the SHA-256 of `key`; decides the split (`splits.split_of`)."""
        return int.from_bytes(hashlib.sha256(self.key.encode()).digest()[:8], "big") % 100


Maker = Callable[[random.Random, int], Problem]


def distinct(answer: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """The first candidates that differ from the answer and from each other, as many as an item offers if there are."""
    kept = [candidate for candidate in dict.fromkeys(candidates) if candidate != answer]
    return tuple(kept[: CHOICES - 1])
