"""Lists of nouns: reversed, sorted, and translated with reordering. All three read the same kind of body."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from pipeline.tasks.embedded.problem import Problem, distinct
from pipeline.tasks.embedded.world import LEXICON, NOUNS

_LENGTHS = {"sorting": (3, 4, 5, 6, 7, 9), "reversal": (4, 5, 6, 7, 8, 10), "translation": (3, 4, 5, 6, 7, 9)}


def sorting(rng: random.Random, level: int) -> Problem:
    """The nouns in alphabetical order. Distractors: two elements of the right list swapped."""
    nouns = _draw(rng, "sorting", level)
    return _list_problem("sorting", level, nouns, sorted(nouns), rng)


def reversal(rng: random.Random, level: int) -> Problem:
    """The nouns from last to first. Distractors: two elements of the right list swapped."""
    nouns = _draw(rng, "reversal", level)
    return _list_problem("reversal", level, nouns, nouns[::-1], rng)


def translation(rng: random.Random, level: int) -> Problem:
    """The foreign words of the nouns, neighbours exchanged in pairs (a b c d -> b' a' d' c'; an odd last one stays).

    Distractors: two elements swapped, or one word taken from elsewhere in the lexicon.
    """
    nouns = _draw(rng, "translation", level)
    foreign = [LEXICON[noun] for noun in nouns]
    ordered = [word for i in range(0, len(foreign), 2) for word in foreign[i : i + 2][::-1]]
    wrong = list(ordered)
    wrong[rng.randrange(len(wrong))] = rng.choice([word for word in LEXICON.values() if word not in ordered])
    return _list_problem("translation", level, nouns, ordered, rng, extra=(" ".join(wrong),))


def _draw(rng: random.Random, computation: str, level: int) -> list[str]:
    return rng.sample(NOUNS, _LENGTHS[computation][level - 1])


def _list_problem(
    computation: str,
    level: int,
    nouns: Sequence[str],
    answer: Sequence[str],
    rng: random.Random,
    extra: tuple[str, ...] = (),
) -> Problem:
    pairs = list(itertools.combinations(range(len(answer)), 2))
    rng.shuffle(pairs)
    swaps: list[str] = []
    for i, j in pairs:
        swapped = list(answer)
        swapped[i], swapped[j] = swapped[j], swapped[i]
        swaps.append(" ".join(swapped))
    right = " ".join(answer)
    return Problem(computation, level, "", " ".join(nouns), right, distinct(right, (*extra, *swaps)))
