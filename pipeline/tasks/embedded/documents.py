"""Documents: a question with zero to three solved examples in front, in one template, of one computation.

Computation, template and length (number of shots) are crossed: document i of a task has template i mod 4 and i // 4 mod
4 shots, so the three labels are independent within every sixteen consecutive documents.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pipeline.tasks.embedded.computations import COMPUTATIONS
from pipeline.tasks.embedded.problem import CHOICES, Problem
from pipeline.tasks.embedded.splits import draw
from pipeline.tasks.embedded.templates import END, TEMPLATES, word
from wina_amp.errors import UserError

SHOTS = (0, 1, 2, 3)
_TRIES = 200


@dataclass(frozen=True)
class Document:
    """A question as the model sees it, with its exact truth."""

    question: Problem
    examples: tuple[Problem, ...]
    template: str
    choices: tuple[str, ...]

    @property
    def segments(self) -> list[tuple[str, str]]:
        """(text up to the answer, answer) of every item in order; the question is last."""
        return [
            (word(item.computation, self.template, item.body), item.answer) for item in (*self.examples, self.question)
        ]

    @property
    def prompt(self) -> str:
        """All text up to where the question's answer begins."""
        *solved, (question, _) = self.segments
        return " ".join([*(f"{text} {answer} {END}" for text, answer in solved), question])

    def fields(self) -> dict[str, object]:
        """The columns that lm-eval's task files refer to, plus the labels.

        The template's column is named `surface`, because which documents are taken is decided by a hash of all their
        columns: another name would take other samples.
        """
        return {
            "prompt": self.prompt,
            "choices": list(self.choices),
            "target": self.choices.index(self.question.answer),
            "answer": self.question.answer,
            "computation": self.question.computation,
            "subject": self.question.subject,
            "surface": self.template,
            "shots": len(self.examples),
            "level": self.question.level,
            "item": self.question.key,
        }


def documents(
    computation: str,
    split: str,
    levels: tuple[int, ...],
    seed: int,
    *,
    stream: str | None = None,
    excluded: Collection[str] = (),
) -> Iterator[Document]:
    """An endless, seeded stream of documents of one computation from one split, no question twice.

    Args:
        split: whose items (`splits.BUCKETS`).
        levels: levels of difficulty, equally often.
        stream: the stream's name, where a split has several; None is the split's own.
        excluded: keys of questions that are not asked.

    Raises:
        UserError: when the levels asked for have no further questions in this split.
    """
    rng = random.Random(f"{seed}/{computation}/{stream or split}")
    used = set(excluded)
    for index in itertools.count():
        template = TEMPLATES[index % len(TEMPLATES)]
        shots = SHOTS[index // len(TEMPLATES) % len(SHOTS)]
        for _ in range(_TRIES):
            drawn = document(computation, split, levels, template, shots, rng)
            if drawn.question.key not in used:
                break
        else:
            raise UserError(
                "A split cannot hold more documents than its levels have distinct questions",
                found=f"no new question after {index} documents",
                where=f"computation {computation}, split {split}, levels {list(levels)}",
                remedy="ask for fewer documents or add a higher level in the task file",
            )
        used.add(drawn.question.key)
        yield drawn


def document(
    computation: str, split: str, levels: tuple[int, ...], template: str, shots: int, rng: random.Random
) -> Document:
    """One document; its items are drawn from `split` and differ from each other."""
    items: dict[str, Problem] = {}
    while len(items) < shots + 1:
        problem = draw(COMPUTATIONS[computation], rng, rng.choice(levels), split)
        items.setdefault(problem.key, problem)
    *examples, question = items.values()
    choices = [question.answer, *question.distractors[: CHOICES - 1]]
    rng.shuffle(choices)
    return Document(question, tuple(examples), template, tuple(choices))
