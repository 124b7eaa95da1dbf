"""Questions about the synthetic world (`pipeline.tasks.embedded.world`): facts by subject, and analogies."""

from __future__ import annotations

import random

from pipeline.tasks.embedded.problem import Problem, distinct
from pipeline.tasks.embedded.world import FACTS, NOUNS, NOUNS_BY_SUBJECT, RELATIONS, SUBJECT_OF

_OFFERED = {4: 4, 5: 7, 6: 10}
_BETWEEN = {4: 1, 5: 3, 6: 5}


def facts(rng: random.Random, level: int) -> Problem:
    """Which of the nouns has all the named properties.

    Level 1 names one property, level 2 two, the others all three; levels 4, 5 and 6 offer four, seven and ten wrong
    nouns in the body, the others three. Wrong nouns share as many of the properties as they can. The subject is that
    of the right noun, and all nouns of an item are of that subject from level 2 on.
    """
    subject = rng.choice(list(NOUNS_BY_SUBJECT))
    right = rng.choice(NOUNS_BY_SUBJECT[subject])
    relations = rng.sample(list(RELATIONS), min(level, 3))
    wanted = [FACTS[right][relation] for relation in relations]
    pool = NOUNS if level == 1 else NOUNS_BY_SUBJECT[subject]

    def shared(noun: str) -> int:
        return sum(FACTS[noun][relation] == value for relation, value in zip(relations, wanted, strict=True))

    candidates = [noun for noun in pool if shared(noun) < len(wanted)]
    rng.shuffle(candidates)
    wrong = sorted(candidates, key=shared, reverse=True)[: _OFFERED.get(level, 3)]
    offered = [right, *wrong]
    rng.shuffle(offered)
    return Problem("facts", level, subject, f"{' '.join(wanted)} ; {' '.join(offered)}", right, distinct(right, wrong))


def analogy(rng: random.Random, level: int) -> Problem:
    """A noun and some of its properties, then another noun: the same properties of that one, in the same order.

    Level 1 asks for one property, 2 for two, the others for three; at levels 4, 5 and 6 one, three and five other
    nouns with their properties stand in between as a distraction. Distractors: one property wrong, or those of the
    first noun.
    """
    first, *middle, second = rng.sample(NOUNS, 2 + max(_BETWEEN.get(level, 1), 1))
    relations = rng.sample(list(RELATIONS), min(level, 3))
    answer = _properties(second, relations)
    wrong: list[str] = []
    for relation in relations * (12 // len(relations)):
        values = dict(FACTS[second])
        values[relation] = rng.choice([value for value in RELATIONS[relation] if value != values[relation]])
        wrong.append(" ".join(values[name] for name in relations))
    wrong.insert(rng.randrange(3), _properties(first, relations))
    between = "".join(
        f" ; {noun} {_properties(noun, rng.sample(list(RELATIONS), 3))}" for noun in middle if level in _BETWEEN
    )
    body = f"{first} {_properties(first, relations)}{between} ; {second}"
    return Problem("analogy", level, SUBJECT_OF[second], body, answer, distinct(answer, wrong))


def _properties(noun: str, relations: list[str]) -> str:
    return " ".join(FACTS[noun][relation] for relation in relations)
