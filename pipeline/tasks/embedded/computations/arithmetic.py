"""Numbers: the sum, the difference and the second largest."""

from __future__ import annotations

import random

from pipeline.tasks.embedded.problem import Problem, distinct

_RANGES = {
    1: ((10, 99), (1, 9)),
    2: ((10, 99), (10, 99)),
    3: ((100, 499), (10, 99)),
    4: ((100, 499), (100, 499)),
    5: ((500, 999), (100, 499)),
    6: ((500, 999), (500, 999)),
}


def addition(rng: random.Random, level: int) -> Problem:
    """The sum of two numbers. Distractors: off by one in a digit, as a lost or invented carry gives."""
    first, second = _pair(rng, level)
    return _number_problem("addition", level, f"{first} , {second}", first + second, rng)


def subtraction(rng: random.Random, level: int) -> Problem:
    """How far apart two numbers are. Distractors as for the sum."""
    first, second = _pair(rng, level)
    return _number_problem("subtraction", level, f"{first} , {second}", abs(first - second), rng)


def comparison(rng: random.Random, level: int) -> Problem:
    """The second largest of three (level 1), four, five (level 5) or six numbers, close together from level 3 on."""
    count = {1: 3, 5: 5, 6: 6}.get(level, 4)
    low = 10 if level <= 2 else 100 * rng.randint(1, 4)
    span = {1: 90, 2: 90, 3: 100}.get(level, 20)
    numbers = rng.sample(range(low, low + span), count)
    second = sorted(numbers)[-2]
    others = sorted((number for number in numbers if number != second), key=lambda number: abs(number - second))
    return Problem(
        "comparison", level, "", " , ".join(map(str, numbers)), str(second), distinct(str(second), map(str, others))
    )


def _pair(rng: random.Random, level: int) -> tuple[int, int]:
    pair = [rng.randint(*bounds) for bounds in _RANGES[level]]
    rng.shuffle(pair)
    return pair[0], pair[1]


def _number_problem(computation: str, level: int, body: str, value: int, rng: random.Random) -> Problem:
    steps = rng.sample((1, 2, 9, 10, 11, 100 if value >= 100 else 20), 3)
    below = rng.randint(0, 3)
    near = [value - step if i < below and value >= step else value + step for i, step in enumerate(steps)]
    return Problem(computation, level, "", body, str(value), distinct(str(value), map(str, near)))
