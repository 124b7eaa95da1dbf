"""What is evaluated must be what was profiled: the prompts and continuations that `prepare` wrote down."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import takewhile
from typing import Any

from lm_eval.api.instance import Instance

from pipeline.tasks.task_view import arguments
from wina_amp.errors import UserError

REMEDY = (
    "run `dvc repro --force --single-item prepare`, then `dvc repro`; if it happens again, a function of the task is "
    "random or reads the clock: seed its generator; or it depends on the order of a set: sort it, or export "
    "PYTHONHASHSEED=0 as `make` does"
)

Asked = Set[tuple[str, str]]
"""Prompts with their continuations; an empty one where it is generated."""


def asked_before(row: Any) -> Asked:
    """What a row of the table `samples` says."""
    continuations = [""] if row.kind == "generation" else row.choices if len(row.choices) else [row.answer]
    return {(str(row.prompt), str(continuation)) for continuation in continuations}


def check_asked(
    requests: Sequence[Instance], numbers: Sequence[int], before: Sequence[Asked], sample_ids: Sequence[str]
) -> None:
    """Compare lm-eval's requests with the table. More may be asked: unconditional likelihoods, other choices' prompts.

    Args:
        requests: all requests of one kind.
        numbers: the sample of each, a place in `before`, what the table says, and in `sample_ids`.

    Raises:
        UserError: something of the table is not asked.
    """
    asked: dict[int, set[tuple[str, str]]] = {}
    for number, request in zip(numbers, requests, strict=True):
        prompt, continuation = arguments(request)[:2]
        asked.setdefault(number, set()).add((prompt, continuation if isinstance(continuation, str) else ""))
    for number, now in asked.items():
        lost = sorted(before[number] - now)
        if lost:
            raise UserError(
                "Evaluation must ask what `prepare` has asked",
                found=_difference("".join(lost[0]), "".join(min(now))),
                where=f"sample {sample_ids[number]}",
                remedy=REMEDY,
            )


def _difference(before: str, now: str) -> str:
    """The first place where two texts differ."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, now, strict=False)))
    was, is_now = (repr(text[max(same - 20, 0) : same + 40]) for text in (before, now))
    return f"{is_now}, which was {was}"
