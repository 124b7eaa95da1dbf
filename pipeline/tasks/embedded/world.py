"""The closed vocabulary of the embedded benchmark, and the little world its knowledge items are about.

Forty-eight nouns serve everywhere: lists of them are reversed, sorted and translated, they are the subjects of
sentences and the entities that facts are about, so a noun does not betray what has to be computed. The world (which
noun has which colour, region and size) and the lexicon (which foreign word translates which noun) are drawn once from a
fixed seed of their own; they are part of the benchmark's definition, not of a run, and a model can only know them from
training.
"""

from __future__ import annotations

import random

WORLD_SEED = 20260101

NOUNS_BY_SUBJECT = {
    "animals": ("bear", "crow", "deer", "duck", "fish", "goat", "hare", "lion", "mole", "seal", "toad", "wolf"),
    "plants": ("bean", "corn", "fern", "herb", "iris", "kelp", "leaf", "moss", "palm", "pine", "rose", "vine"),
    "tools": ("anvil", "bolt", "clamp", "drill", "file", "hook", "lever", "nail", "pump", "rope", "saw", "wedge"),
    "places": ("arch", "barn", "camp", "dock", "farm", "gate", "hall", "inn", "mill", "park", "quay", "tower"),
}
SUBJECT_OF = {noun: subject for subject, nouns in NOUNS_BY_SUBJECT.items() for noun in nouns}
NOUNS = tuple(sorted(SUBJECT_OF))
PLURAL = {noun: noun + "s" for noun in NOUNS}

RELATIONS = {
    "colour": ("red", "blue", "green", "white", "black", "brown"),
    "region": ("north", "south", "east", "west", "coast", "hills"),
    "size": ("tiny", "small", "plain", "large", "huge", "vast"),
}
FACTS = {
    noun: {relation: values[index] for relation, values in RELATIONS.items() for index in [stream.randrange(6)]}
    for stream in [random.Random(WORLD_SEED)]
    for noun in NOUNS
}

_SYLLABLES = ("ka", "lo", "mi", "nu", "pe", "ri", "sa", "to", "vu", "ze")
_FOREIGN = tuple(f"{first}{second}x" for first in _SYLLABLES for second in _SYLLABLES)
LEXICON = dict(zip(NOUNS, random.Random(WORLD_SEED + 1).sample(_FOREIGN, len(NOUNS)), strict=True))

NAMES: tuple[str, ...] = ("amy", "bob", "cal", "dot", "eli", "fay", "gus", "hal")
VERB_FORMS = {
    ("singular", "now"): "is",
    ("plural", "now"): "are",
    ("singular", "then"): "was",
    ("plural", "then"): "were",
}

DIGITS = tuple("0123456789")
GLUE = ("true", "false", "and", "or", "xor", "not", "near", "the", "now", "then", "swap", "=", "+", "-", ",", ";")


def words() -> tuple[str, ...]:
    """Every content word, in a fixed order without repeats (frames and cues come from `templates`)."""
    values = tuple(value for group in RELATIONS.values() for value in group)
    verbs = tuple(VERB_FORMS.values())
    every = (*NOUNS, *PLURAL.values(), *values, *LEXICON.values(), *NAMES, *verbs, *GLUE)
    return tuple(dict.fromkeys(every))
