"""Rows of the `samples` table: documents as the model will see them, text and token ids.

The prompt and the continuations are taken from the requests that lm-eval itself makes of a document, and are encoded
by the functions that evaluation uses, so what is profiled is what is evaluated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any, cast

from lm_eval.api.instance import Instance
from transformers import PreTrainedTokenizerBase

from pipeline.tasks.generation import limits
from pipeline.tasks.task_view import TaskView, arguments, doc_hash, quiet
from pipeline.tokens.chat import ChatTemplate
from pipeline.tokens.encoding import encode_pairs, encode_prompts
from wina_amp.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class _PromptedDocument:
    """A document as lm-eval prompts it, in text.

    Attributes:
        document: its columns.
        prompt, answer: as in `schemas.SAMPLES`, as are `choices` and `target`.
        requests: (prompt, continuation) of everything that lm-eval scores.
        max_tokens: most tokens that are generated; 0 where nothing is.
    """

    document: Mapping[str, Any]
    prompt: str
    choices: list[str]
    target: int
    answer: str
    requests: list[tuple[str, str]]
    max_tokens: int


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
        view: one split of a task.
        doc_ids: chosen documents, ascending.
        tokenizer: the model's.
        context: the largest number of tokens the model takes.
        embeddings: how many token ids the model knows; None: all. Tokenizers may have more, for tokens never trained.

    Raises:
        UserError: a sample with its longest continuation does not fit into the context, has no right choice, or has a
            token that the model does not know.
    """
    for doc_id, (prompted, prompt_ids, answer_ids, length) in _encoded(view, doc_ids, tokenizer, embeddings).items():
        _check_length(f"{view.key}/{doc_id}", length, context)
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
            "prompt_ids": prompt_ids,
            "answer_ids": answer_ids,
            "n_tokens": len(prompt_ids),
        }


def too_long(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, context: int) -> list[int]:
    """Of these documents, prompted together, the ones that `sample_rows` would refuse because of their length."""
    return [doc_id for doc_id, (*_, length) in _encoded(view, doc_ids, tokenizer).items() if length > context]


def _encoded(
    view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase, embeddings: int | None = None
) -> dict[int, tuple[_PromptedDocument, list[int], list[int], int]]:
    """Every document with its prompt, the token ids of prompt and right answer, and its longest request in tokens."""
    requests = _requests(view, doc_ids, tokenizer)
    documents = [_prompted(view, doc_id, own) for doc_id, own in zip(doc_ids, requests, strict=True)]
    prompts = encode_prompts(tokenizer, [document.prompt for document in documents])
    answers = encode_pairs(tokenizer, [(document.prompt, document.answer) for document in documents])
    pairs = iter(encode_pairs(tokenizer, [pair for document in documents for pair in document.requests]))
    encoded: dict[int, tuple[_PromptedDocument, list[int], list[int], int]] = {}
    for doc_id, document, whole, (stripped, answer) in zip(doc_ids, documents, prompts, answers, strict=True):
        # Spaces at the end of a prompt belong to a continuation that is scored, but stay where one is generated.
        prompt = whole if view.kind == "generation" else stripped
        own = [next(pairs) for _ in document.requests]
        lengths = [len(ids) + len(continuation) for ids, continuation in own]
        if embeddings is not None:
            _check_ids(f"{view.key}/{doc_id}", chain(prompt, answer, *chain(*own)), tokenizer, embeddings)
        encoded[doc_id] = (document, prompt, answer, max([*lengths, len(prompt) + document.max_tokens]))
    return encoded


def _requests(view: TaskView, doc_ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> list[list[Instance]]:
    """lm-eval's requests for each chosen document, in their order."""
    task = view.only(doc_ids)
    template = ChatTemplate(tokenizer) if view.is_chat else None
    with quiet():
        task.build_all_requests(
            apply_chat_template=view.is_chat, fewshot_as_multiturn=view.is_chat, chat_template=template
        )
    requests = cast(Sequence[Instance], task.instances)
    return [list(group) for _, group in groupby(requests, key=lambda request: request.doc_id)]


def _prompted(view: TaskView, doc_id: int, requests: Sequence[Instance]) -> _PromptedDocument:
    document = cast(Mapping[str, Any], requests[0].doc)
    if view.kind == "choice":
        prompt, choices, target = _choices(view, document, requests, f"{view.key}/{doc_id}")
        pairs = [cast(tuple[str, str], arguments(request)[:2]) for request in requests]
        return _PromptedDocument(document, prompt, choices, target, choices[target], pairs, max_tokens=0)
    if view.kind == "text":
        prompt, continuation = arguments(requests[0])
        return _PromptedDocument(document, prompt, [], -1, continuation, [(prompt, continuation)], max_tokens=0)
    prompt, settings = arguments(requests[0])[:2]
    answer = _free_answer(view, document)
    max_tokens = limits(settings, view.name).max_tokens
    return _PromptedDocument(document, prompt, [], -1, answer, [(prompt, answer)], max_tokens)


def _check_ids(name: str, ids: Iterable[int], tokenizer: PreTrainedTokenizerBase, embeddings: int) -> None:
    largest = max(ids)
    if largest >= embeddings:
        raise UserError(
            f"Every token of a sample must be one of the {embeddings} that the model has embeddings for",
            found=f"{tokenizer.convert_ids_to_tokens(largest)!r}, number {largest} of the tokenizer",
            where=f"sample {name}",
            remedy="use the tokenizer that belongs to the model, or take the sample out of its task",
        )


def _check_length(sample_id: str, length: int, context: int) -> None:
    if length > context:
        raise UserError(
            f"A sample must fit into the model's context of {context} tokens, continuation included",
            found=f"{length} tokens",
            where=f"sample {sample_id}",
            remedy="set `benchmark.too_long: leave_out`, give the task fewer few-shot examples, or take another model",
        )


def _choices(
    view: TaskView, document: Mapping[str, Any], requests: Sequence[Instance], sample_id: str
) -> tuple[str, list[str], int]:
    """Prompt, continuations and index of the right one, from the requests of one document."""
    task: Any = view.task
    if view.task.OUTPUT_TYPE == "loglikelihood":
        prompt, continuation = arguments(requests[0])
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
    return str(arguments(requests[target if is_prompt_choice else 0])[0]), continuations, target


def _free_answer(view: TaskView, document: Mapping[str, Any]) -> str:
    task: Any = view.task
    answer = task.doc_to_target(document)
    answer = answer[0] if isinstance(answer, list) else answer
    # In a chat the answer begins a turn of its own, unless the task begins it (as lm-eval has it for choices).
    is_apart = not view.is_chat or bool(task.config.gen_prefix)
    return f"{task.config.target_delimiter if is_apart else ''}{answer}"


def _labels(document: Mapping[str, Any], subject: str) -> Row:
    texts = {name: str(document.get(name) or "") for name in ("computation", "template")}
    texts["subject"] = str(document.get("subject") or subject)
    texts["template"] = texts["template"] or str(document.get("surface") or "")
    shots = document.get("shots")
    return texts | {"shots": shots if isinstance(shots, int) else 0}
