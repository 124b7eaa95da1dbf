"""State that changes step by step: truth values, variables, and who holds what."""

from __future__ import annotations

import random

from pipeline.tasks.embedded.problem import Problem, distinct
from pipeline.tasks.embedded.world import NAMES, NOUNS

_TRUTH = {True: "true", False: "false"}


def boolean(rng: random.Random, level: int) -> Problem:
    """Two formulas read from left to right (no precedence), with `level` operators each; both values are asked for."""
    formulas = [_formula(rng, level) for _ in range(2)]
    answer = " ".join(_TRUTH[value] for _, value in formulas)
    every = [f"{first} {second}" for first in _TRUTH.values() for second in _TRUTH.values()]
    rng.shuffle(every)
    return Problem("boolean", level, "", " ; ".join(text for text, _ in formulas), answer, distinct(answer, every))


def tracing(rng: random.Random, level: int) -> Problem:
    """The last digit that a name stands for after `level` + 1 assignments (arithmetic modulo 10).

    Distractors: what the other names stand for, and what this one stood for before.
    """
    variables = rng.sample(NAMES, 2 if level <= 2 else 3)
    held: dict[str, int] = {}
    lines: list[str] = []
    seen: list[int] = []
    for step in range(level + 1):
        source = rng.choice(list(held)) if held else ""
        variable = variables[step] if step < len(variables) else rng.choice(variables)
        amount = rng.randint(1, 9)
        if not source or (step < 2 and rng.random() < 0.3):
            held[variable] = amount
            lines.append(f"{variable} = {amount}")
        else:
            sign = rng.choice("+-")
            held[variable] = (held[source] + (amount if sign == "+" else -amount)) % 10
            lines.append(f"{variable} = {source} {sign} {amount}")
        seen.append(held[variable])
    name = rng.choice(list(held))
    answer = held[name]
    near = [*(value for other, value in held.items() if other != name), *seen, (answer + 1) % 10, (answer - 1) % 10]
    wrong = [str(value) for value in near] + [str(value) for value in rng.sample(range(10), 10)]
    return Problem("tracing", level, "", " ; ".join([*lines, name]), str(answer), distinct(str(answer), wrong))


def tracking(rng: random.Random, level: int) -> Problem:
    """The thing that a person holds after `level` swaps among four people. Distractors: what the other three hold."""
    names, things = rng.sample(NAMES, 4), rng.sample(NOUNS, 4)
    held = dict(zip(names, things, strict=True))
    lines = [f"{name} = {thing}" for name, thing in held.items()]
    involved: list[str] = []
    for _ in range(level):
        first, second = rng.sample(names, 2)
        held[first], held[second] = held[second], held[first]
        involved += [first, second]
        lines.append(f"swap {first} {second}")
    name = rng.choice(involved) if rng.random() < 0.8 else rng.choice(names)
    others = rng.sample([thing for other, thing in held.items() if other != name], 3)
    return Problem("tracking", level, "", " ; ".join([*lines, name]), held[name], distinct(held[name], others))


def _formula(rng: random.Random, operators: int) -> tuple[str, bool]:
    def literal() -> tuple[str, bool]:
        negated, value = rng.random() < 0.3, rng.random() < 0.5
        return ("not " if negated else "") + _TRUTH[value], value != negated

    text, value = literal()
    for _ in range(operators):
        name = rng.choice(("and", "or", "xor"))
        right, other = literal()
        text = f"{text} {name} {right}"
        value = {"and": value and other, "or": value or other, "xor": value != other}[name]
    return text, value
