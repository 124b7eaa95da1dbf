"""Asking lm-eval about documents, and a rehearsal of what evaluation will do with a task: ask again, and score.

Evaluation runs in another process, hours later. What would fail there fails here, on a few documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, SupportsFloat, cast

from lm_eval.api.instance import Instance
from transformers import PreTrainedTokenizerBase

from pipeline.tasks.repeatable import fixed_randomness
from pipeline.tasks.task_view import TaskView, arguments, doc_hash, quiet, refusal
from pipeline.tokens.chat import ChatTemplate
from wina_amp.errors import UserError

_ASKED_TWICE = 16
"""Documents of a split that are asked about twice, to notice a function that is random."""


def requests_of(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[list[Instance]]:
    """lm-eval's requests for each chosen document, in their order."""
    requests = _instances(view.only(doc_ids), view, tokenizer)
    return [list(group) for _, group in groupby(requests, key=lambda request: request.doc_id)]


def check_repeatable(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> None:
    """Make and ask about the first documents twice.

    Raises:
        UserError: they differ, or one is asked about in two ways.
    """
    some = doc_ids[:_ASKED_TWICE]
    _check_documents(view)
    first, again = (requests_of(view, some, tokenizer) for _ in range(2))
    for doc_id, before, now in zip(some, first, again, strict=True):
        if [arguments(request) for request in before] != [arguments(request) for request in now]:
            raise UserError(
                "A task must ask about a document in the same way every time",
                found="two ways in one process",
                where=f"sample {view.key}/{doc_id}",
                remedy="let the functions of its YAML draw from a generator that is seeded by the document, and read "
                "no clock",
            )


def _check_documents(view: TaskView) -> None:
    """Let `process_docs` process the first rows twice, with the same seeds."""
    process: Any = view.task.config.process_docs
    rows: Any = view.task.dataset[view.task.config.test_split]
    if process is None or not hasattr(rows, "select"):
        return
    some = rows.select(range(min(len(rows), _ASKED_TWICE)))
    made: list[list[str]] = []
    for _ in range(2):
        try:
            with fixed_randomness():
                made.append([doc_hash(document) for document in process(some)])
        except Exception:  # it needs all rows
            return
    if made[0] != made[1]:
        raise refusal(
            view.key,
            "have the same documents in every process",
            "other ones when `process_docs` runs again",
            "let it draw from a generator that is seeded, and read no clock",
        )


def check_scoring(view: TaskView, doc_id: int, answer: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the task filter and score responses to one document: its right answer, or equal likelihoods.

    Raises:
        UserError: its filters or its scoring fail, or the score that is read is not there.
    """
    task: Any = view.only([doc_id])
    instances = _instances(task, view, tokenizer)
    for instance in instances:
        instance.resps = [answer if view.kind == "generation" else (-1.0, False)]
    try:
        task.apply_filters()
        filtered: list[Any] = [instance.filtered_resps for instance in instances]
        name = next(iter(filtered[0]))
        scores: Any = task.process_results(instances[0].doc, [responses[name] for responses in filtered])
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise refusal(view.key, "score a response", problem, "correct its filters and `process_results`") from error
    if view.score not in scores:
        found = ", ".join(map(str, scores)) or "nothing"
        raise refusal(view.key, f"give every response the score `{view.score}`", found, "correct `process_results`")
    score: object = scores[view.score]
    if not isinstance(score, SupportsFloat):  # a metric of choices on generated text, for example
        rule, remedy = f"give numbers as the score `{view.score}`", "take another metric, or correct `process_results`"
        raise refusal(view.key, rule, repr(score), remedy)


def _instances(task: Any, view: TaskView, tokenizer: PreTrainedTokenizerBase) -> list[Instance]:
    template = ChatTemplate(tokenizer, view.today) if view.is_chat else None
    try:
        with quiet():
            task.build_all_requests(
                apply_chat_template=view.is_chat, fewshot_as_multiturn=view.is_chat, chat_template=template
            )
    except UserError:
        raise
    except Exception as error:  # lm-eval has tried the first document only when the task was loaded
        problem = f"{type(error).__name__}: {error}"
        raise refusal(
            view.key, "be able to ask about every document", problem, "correct its YAML or its data"
        ) from error
    return cast(list[Instance], task.instances)
