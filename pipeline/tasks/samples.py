"""Rows of the `samples` table: documents as the model will see them, text and token ids.

The prompt and the continuations are taken from the requests that lm-eval itself makes of a document, and are encoded
by the functions that evaluation uses, so what is profiled is what is evaluated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

from lm_eval.api.instance import Instance
from transformers import PreTrainedTokenizerBase

from pipeline.tasks.free_answers import is_compared_whole, right_answers, separator_of
from pipeline.tasks.generation import Limits, limits
from pipeline.tasks.refusals import Answer, check_answer, check_ids, check_length, check_tokens
from pipeline.tasks.rehearsal import check_repeatable, check_scoring, requests_of
from pipeline.tasks.task_view import TaskView, arguments, doc_hash, refusal
from wina_amp.errors import UserError
from wina_amp.tokens.encoding import Pair, encode_alone, encode_pairs, encode_prompts, special_tokens

log = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class _PromptedDocument:
    """A document as lm-eval prompts it, in text.

    Attributes:
        document: its columns.
        prompt, answer: as in `schemas.SAMPLES`, as are `choices` and `target`.
        requests: (prompt, continuation) of everything that lm-eval scores.
        limits: of the generation; None where nothing is generated.
        answers: where a generated text is compared whole, all that are right.
    """

    document: Mapping[str, Any]
    prompt: str
    choices: list[str]
    target: int
    answer: str
    requests: list[tuple[str, str]]
    limits: Limits | None = None
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class _EncodedDocument:
    """A prompted document with its tokens: those of the table, and of everything that lm-eval scores (`requests`)."""

    prompted: _PromptedDocument
    prompt_ids: list[int]
    answer_ids: list[int]
    requests: list[Pair]

    @property
    def ids(self) -> Iterator[int]:
        """Every token id that the model reads."""
        return chain(
            self.prompt_ids, self.answer_ids, *(chain(pair.prompt, pair.continuation) for pair in self.requests)
        )

    @property
    def length(self) -> int:
        """Tokens of the longest request, or of the prompt and all that may be generated."""
        limits = self.prompted.limits
        generated = 0 if limits is None else limits.max_tokens
        return max(
            *(len(pair.prompt) + len(pair.continuation) for pair in self.requests), len(self.prompt_ids) + generated
        )


def sample_rows(
    view: TaskView,
    doc_ids: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    context: int,
    *,
    embeddings: int | None = None,
) -> Iterator[Row]:
    """One row of `schemas.SAMPLES` for each chosen document.

    Where the choices are different prompts with one continuation (winogrande), the row holds the right choice's prompt.
    Optional fields of a document are kept as labels: `computation`, `template` (or `surface`, as the embedded documents
    name it), `shots`, `subject` (where a document names no subject, its task may: `TaskView.subject`).

    Args:
        doc_ids: chosen documents, ascending.
        context: the largest number of tokens the model takes.
        embeddings: how many token ids the model knows; None: all. Tokenizers may have more, for tokens never trained.

    Raises:
        UserError: a sample with its longest continuation does not fit into the context, has a token that the model does
            not know, has no right choice, cannot be scored or never as right (`pipeline/tasks/refusals.py`), or is
            asked about in another way every time; the task fails to score (`pipeline/tasks/rehearsal.py`).
    """
    encoded = _encoded(view, doc_ids, tokenizer)
    for doc_id, document in encoded.items():
        _check(view, f"{view.key}/{doc_id}", document, tokenizer, context)
        if embeddings is not None:
            check_ids(f"{view.key}/{doc_id}", document.ids, tokenizer, embeddings)
    check_repeatable(view, doc_ids, tokenizer)
    for doc_id in doc_ids[:1]:
        check_scoring(view, doc_id, encoded[doc_id].prompted.answer, tokenizer)
    if view.kind != "generation":
        _report_choices(view, list(encoded.values()))
    for doc_id, document in encoded.items():
        prompted = document.prompted
        yield {
            "sample_id": f"{view.key}/{doc_id}",
            "task": view.name,
            "split": view.split,
            "doc_id": doc_id,
            "doc_hash": doc_hash(prompted.document),
            "kind": view.kind,
            **_labels(prompted.document, view.subject),
            "prompt": prompted.prompt,
            "choices": prompted.choices,
            "target": prompted.target,
            "answer": prompted.answer,
            "prompt_ids": document.prompt_ids,
            "answer_ids": document.answer_ids,
            "n_tokens": len(document.prompt_ids),
        }


def too_long(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, context: int) -> list[int]:
    """Of these documents, prompted together, the ones that `sample_rows` would refuse because of their length."""
    return [doc_id for doc_id, document in _encoded(view, doc_ids, tokenizer).items() if document.length > context]


def _encoded(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> dict[int, _EncodedDocument]:
    requests = requests_of(view, doc_ids, tokenizer)
    documents = [_prompted(view, doc_id, own) for doc_id, own in zip(doc_ids, requests, strict=True)]
    prompts = encode_prompts(tokenizer, [document.prompt for document in documents])
    answers = encode_pairs(tokenizer, [(document.prompt, document.answer) for document in documents])
    pairs = iter(encode_pairs(tokenizer, [pair for document in documents for pair in document.requests]))
    encoded: dict[int, _EncodedDocument] = {}
    for doc_id, document, whole, behind in zip(doc_ids, documents, prompts, answers, strict=True):
        # Spaces at the end of a prompt belong to a continuation that is scored, but stay where one is generated.
        prompt = whole if view.kind == "generation" else behind.prompt
        request_ids = [next(pairs) for _ in document.requests]
        encoded[doc_id] = _EncodedDocument(document, prompt, behind.continuation, request_ids)
    return encoded


def _check(
    view: TaskView, sample_id: str, document: _EncodedDocument, tokenizer: PreTrainedTokenizerBase, context: int
) -> None:
    prompted = document.prompted
    check_length(sample_id, document.length, context)
    check_tokens(sample_id, prompted.requests, document.requests)
    if prompted.limits is not None and prompted.answers:
        hidden = special_tokens(tokenizer)
        answers = [
            # Behind the prompt an answer may take a token less or more, for a space.
            Answer(text, min(len(ids), len(document.answer_ids)) if number == 0 else len(ids), hidden.isdisjoint(ids))
            for number, (text, ids) in enumerate(
                zip(prompted.answers, encode_alone(tokenizer, prompted.answers), strict=True)
            )
        ]
        check_answer(sample_id, answers, prompted.limits, cast(str | None, tokenizer.eos_token))


def _report_choices(view: TaskView, documents: Sequence[_EncodedDocument]) -> None:
    """Say what is scored as lm-eval scores it, and may not be what was meant."""
    texts = [document.prompted.requests for document in documents]
    repeated = [pairs for pairs in texts if len(set(pairs)) < len(pairs)]
    if repeated:
        message = "%s: %d items have a choice twice, for example in %r; the first of them counts, as in lm-eval"
        log.warning(message, view.key, len(repeated), [continuation for _, continuation in repeated[0]])
    ids = [pair for document in documents for pair in document.requests]
    cut = [text for text, pair in zip(chain.from_iterable(texts), ids, strict=True) if pair.is_joined]
    if cut:
        message = "%s: %d continuations share a token with their prompt, for example %r behind %r; as in lm-eval, %s"
        log.warning(message, view.key, len(cut), cut[0][1], cut[0][0][-20:], "they are scored without it")


def _prompted(view: TaskView, doc_id: int, requests: Sequence[Instance]) -> _PromptedDocument:
    try:
        return _as_prompted(view, doc_id, requests)
    except UserError:
        raise
    except Exception as error:  # a function or template of the task
        problem = f"{type(error).__name__}: {error}"
        remedy = "correct `doc_to_target` and `doc_to_choice` in its YAML, or the document"
        raise refusal(f"{view.key}/{doc_id}", "say what is right of every document", problem, remedy) from error


def _as_prompted(view: TaskView, doc_id: int, requests: Sequence[Instance]) -> _PromptedDocument:
    document = cast(Mapping[str, Any], requests[0].doc)
    if view.kind == "choice":
        prompt, choices, target = _choices(view, document, requests, f"{view.key}/{doc_id}")
        pairs = [cast(tuple[str, str], arguments(request)[:2]) for request in requests]
        return _PromptedDocument(document, prompt, choices, target, choices[target], pairs)
    if view.kind == "text":
        prompt, continuation = arguments(requests[0])
        return _PromptedDocument(document, prompt, [], -1, continuation, [(prompt, continuation)])
    prompt, settings = arguments(requests[0])[:2]
    right = right_answers(view, document)
    answer = separator_of(view, prompt, right[0]) + right[0]
    bounds = limits(settings, view.name)
    compared = tuple(right) if is_compared_whole(view) else ()
    return _PromptedDocument(document, prompt, [], -1, answer, [(prompt, answer)], bounds, compared)


def _choices(
    view: TaskView, document: Mapping[str, Any], requests: Sequence[Instance], sample_id: str
) -> tuple[str, list[str], int]:
    """Prompt, continuations and index of the right one, from the requests of one document."""
    task: Any = view.task
    if view.task.OUTPUT_TYPE == "loglikelihood":
        prompt, continuation = arguments(requests[0])
        if not isinstance(continuation, str):
            raise TypeError(f"{continuation!r} is no text")
        return prompt, [continuation], 0
    choices = task.doc_to_choice(document)
    is_prompt_choice = bool(task.multiple_input)
    target = task.doc_to_text(document) if is_prompt_choice else task.doc_to_target(document)
    target = target[0] if isinstance(target, list) else target
    target = choices.index(target) if isinstance(target, str) and target in choices else target
    if not isinstance(target, int) or not 0 <= target < len(choices):
        raise UserError(
            "The right choice of a sample must be one of its choices",
            found=f"{target!r} with {len(choices)} choices",
            where=f"sample {sample_id}",
            remedy="correct `doc_to_target` in the task's YAML",
        )
    # Requests beyond the choices are lm-eval's own extras (unconditional log-likelihoods).
    continuations = [str(arguments(request)[1]) for request in requests[: len(choices)]]
    return str(arguments(requests[target if is_prompt_choice else 0])[0]), continuations, int(target)


def _labels(document: Mapping[str, Any], subject: str) -> Row:
    texts = {name: str(document.get(name) or "") for name in ("computation", "template")}
    texts["subject"] = str(document.get("subject") or subject)
    texts["template"] = texts["template"] or str(document.get("surface") or "")
    shots = document.get("shots")
    return texts | {"shots": shots if isinstance(shots, int) else 0}
