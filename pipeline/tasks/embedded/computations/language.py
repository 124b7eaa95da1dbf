"""Number and tense agreement over attractors."""

from __future__ import annotations

import random

from pipeline.tasks.embedded.problem import Problem, distinct
from pipeline.tasks.embedded.world import NOUNS, PLURAL, VERB_FORMS


def agreement(rng: random.Random, level: int) -> Problem:
    """The form of *to be* that a subject takes: `is`, `are`, `was` or `were`.

    The subject joins two nouns: with `and` it is plural, with `or` it has the number of the second one. Each is
    followed by attractors (`near ...`), `level` in all (7 and 10 at levels 5 and 6), that must not count. Attractors
    carry time words; only the one at the very front sets the tense. Distractors: the other three forms.
    """
    joined, tense = rng.choice(("and", "or")), rng.choice(("now", "then"))
    attractors = {5: 7, 6: 10}.get(level, level)
    split = rng.randint(0, attractors)
    first, _ = _phrase(rng, split)
    second, number = _phrase(rng, attractors - split)
    number = "plural" if joined == "and" else number
    answer = VERB_FORMS[number, tense]
    others = rng.sample(list(VERB_FORMS.values()), 4)
    return Problem("agreement", level, "", f"{tense} {first} {joined} {second}", answer, distinct(answer, others))


def _phrase(rng: random.Random, attractors: int) -> tuple[str, str]:
    noun, number = _noun(rng)
    words = [noun]
    for _ in range(attractors):
        words += ["near", _noun(rng)[0], *([rng.choice(("now", "then"))] if rng.random() < 0.5 else [])]
    return " ".join(words), number


def _noun(rng: random.Random) -> tuple[str, str]:
    noun, number = rng.choice(NOUNS), rng.choice(("singular", "plural"))
    return (PLURAL[noun] if number == "plural" else noun), number
