"""Every computation against an independent way to get the answer, and the properties all problems share."""

from __future__ import annotations

import random

import pytest

from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.problem import Problem
from pipeline.tasks.embedded.world import FACTS, LEXICON, NOUNS, RELATIONS

DRAWS = 150


def draws(computation: str, level: int) -> list[Problem]:
    rng = random.Random(f"{computation}{level}")
    return [COMPUTATIONS[computation](rng, level) for _ in range(DRAWS)]


def python_value(formula: str) -> bool:
    """Left-to-right evaluation by Python itself: each operator is parenthesised from the left."""
    words = formula.replace("true", "True").replace("false", "False").replace("xor", "!=").split()
    operands: list[str] = []
    operators: list[str] = []
    for word in words:
        if word in ("and", "or", "!="):
            operators.append(word)
        elif operands and operands[-1] == "(not":
            operands[-1] = f"(not {word})"
        else:
            operands.append("(not" if word == "not" else word)
    text = operands[0]
    for operator, operand in zip(operators, operands[1:], strict=True):
        text = f"({text} {operator} {operand})"
    return bool(eval(text))


def answer_again(problem: Problem) -> str:
    """The answer worked out from the body alone, by other means than the maker's."""
    body = problem.body
    match problem.computation:
        case "addition":
            return str(sum(int(number) for number in body.split(" , ")))
        case "subtraction":
            low, high = sorted(int(number) for number in body.split(" , "))
            return str(high - low)
        case "comparison":
            numbers = [int(number) for number in body.split(" , ")]
            numbers.remove(max(numbers))
            return str(max(numbers))
        case "sorting":
            left = body.split()
            return " ".join(left.pop(left.index(min(left))) for _ in range(len(left)))
        case "reversal":
            return " ".join(reversed(body.split()))
        case "translation":
            foreign = [LEXICON[noun] for noun in body.split()]
            for i in range(0, len(foreign) - 1, 2):
                foreign[i], foreign[i + 1] = foreign[i + 1], foreign[i]
            return " ".join(foreign)
        case "boolean":
            return " ".join("true" if python_value(formula) else "false" for formula in body.split(" ; "))
        case "tracing":
            *lines, name = body.split(" ; ")
            scope: dict[str, int] = {}
            exec("\n".join(lines), {}, scope)
            return str(scope[name] % 10)
        case "tracking":
            *lines, name = body.split(" ; ")
            held: dict[str, str] = {}
            for line in lines:
                first, *rest = line.split()
                if first == "swap":
                    held |= {rest[0]: held[rest[1]], rest[1]: held[rest[0]]}
                else:
                    held[first] = rest[-1]
            return held[name]
        case "agreement":
            tense, *words = body.split()
            joint = words.index("and") if "and" in words else words.index("or")
            plural = words[joint] == "and" or words[joint + 1] not in NOUNS
            return {("now", False): "is", ("now", True): "are", ("then", False): "was", ("then", True): "were"}[
                tense, plural
            ]
        case "facts":
            wanted, offered = (part.split() for part in body.split(" ; "))
            (right,) = [noun for noun in offered if set(wanted) <= set(FACTS[noun].values())]
            return right
        case _:
            first, *rest = body.split(" ; ")
            relation_of = {value: relation for relation, values in RELATIONS.items() for value in values}
            return " ".join(FACTS[rest[-1]][relation_of[value]] for value in first.split()[1:])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_the_answer_is_what_an_independent_solver_finds(computation: str, level: int) -> None:
    for problem in draws(computation, level):
        assert problem.answer == answer_again(problem), problem


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_distractors_are_wrong_distinct_and_almost_always_three(computation: str) -> None:
    short = 0
    for level in LEVELS:
        for problem in draws(computation, level):
            assert problem.answer not in problem.distractors
            assert len(set(problem.distractors)) == len(problem.distractors) >= 2
            short += len(problem.distractors) < 3
    assert short <= (DRAWS if computation == "comparison" else 0), "only level 1 of comparison offers three numbers"


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_higher_levels_have_longer_bodies_or_larger_numbers(computation: str) -> None:
    mean = [sum(len(problem.body) for problem in draws(computation, level)) / DRAWS for level in LEVELS]
    assert mean[0] < mean[-1], mean


@pytest.mark.parametrize("computation", ["addition", "subtraction", "boolean", "reversal", "tracing"])
def test_the_rank_of_the_answer_among_sorted_choices_gives_nothing_away(computation: str) -> None:
    """A guesser that always takes the n-th choice in sorted order stays near chance (one in four).

    Bound: 600 draws at chance 0.25 have standard deviation 0.018; 0.25 + 0.15 leaves room for the shape of arithmetic
    near-misses (the answer is rarely the smallest) without letting a give-away pass.
    """
    problems = [problem for level in LEVELS for problem in draws(computation, level) if len(problem.distractors) == 3]
    ranks = [sorted((problem.answer, *problem.distractors)).index(problem.answer) for problem in problems]
    for rank in range(4):
        assert ranks.count(rank) / len(ranks) < 0.40
