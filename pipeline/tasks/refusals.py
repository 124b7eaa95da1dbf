"""Samples that evaluation could not score, or never as right: refused when samples are taken, not hours later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from pipeline.tasks.generation import Limits
from wina_amp.errors import UserError
from wina_amp.tokens.encoding import Pair


@dataclass(frozen=True)
class Answer:
    """A right answer that has to be generated.

    Attributes:
        text: the answer.
        length: the fewest tokens that it takes.
        is_known: whether none of them is special, which the text of what is generated does not show, or stands for
            something that the tokenizer does not know.
    """

    text: str
    length: int
    is_known: bool = True


def check_length(sample_id: str, length: int, context: int) -> None:
    """Refuse a sample that is longer than the model's context.

    Raises:
        UserError: it is.
    """
    if length > context:
        raise UserError(
            f"A sample must fit into the model's context of {context} tokens, continuation included",
            found=f"{length} tokens",
            where=f"sample {sample_id}",
            remedy="set `benchmark.too_long: leave_out`, give the task fewer few-shot examples, or take another model",
        )


def check_tokens(sample_id: str, texts: Sequence[tuple[str, str]], ids: Sequence[Pair]) -> None:
    """Refuse prompts and continuations that the tokenizer leaves no trace of, or none of the difference between two.

    Raises:
        UserError: a prompt or a continuation has no token, or two that differ have the same ones.
    """
    known: dict[tuple[tuple[int, ...], ...], tuple[str, str]] = {}
    for (prompt, continuation), (prompt_ids, continuation_ids, _) in zip(texts, ids, strict=True):
        if not prompt_ids:
            raise _refused(
                sample_id,
                "A prompt must have a token; a tokenizer's BOS or EOS takes the place of an empty one",
                f"the prompt {prompt!r}, and a tokenizer that has neither",
                "give the item a prompt, or take it out",
            )
        if not continuation_ids:
            raise _refused(
                sample_id,
                "A continuation must have a token of its own, behind those of the prompt",
                f"none for {continuation!r} behind {prompt[-30:]!r}",
                "write something into the continuation, or a space between the two if the tokenizer joins them",
            )
        text = prompt, continuation
        equal = known.setdefault((tuple(prompt_ids), tuple(continuation_ids)), text)
        if equal != text:
            raise _refused(
                sample_id,
                "Choices that differ must have different tokens",
                f"the same ones for {equal[equal[0] == prompt]!r} and {text[equal[0] == prompt]!r}",
                "take the item out, or use a model whose tokenizer knows the difference",
            )


def check_answer(sample_id: str, answers: Sequence[Answer], limits: Limits, eos: str | None) -> None:
    """Refuse a sample none of whose right answers can be generated whole; the text of EOS ends an answer, too.

    Raises:
        UserError: every answer contains a stop text, is longer than may be generated or cannot be written at all.
    """
    stops = (*limits.stops, eos) if eos else limits.stops
    problems = [_problem(answer, stops, limits.max_tokens) for answer in answers]
    if problems and problems[0] is not None and all(problems):
        raise _refused(sample_id, *problems[0])


def _problem(answer: Answer, stops: Sequence[str], max_tokens: int) -> tuple[str, str, str] | None:
    """Why an answer cannot be generated: what must hold, what was found, what to do."""
    stop, text = next((stop for stop in stops if stop in answer.text), None), _short(answer.text)
    if stop is not None:
        return (
            "An answer must not contain a text that ends it: it could never be right",
            f"{stop!r} in {text}",
            "change `stop` (`until` in a task's YAML), or take the item out",
        )
    if not answer.is_known:
        return (
            "An answer must be one that the tokenizer can write: it could never be right",
            f"special tokens, or characters or words that it does not know in {text}",
            "take the item out, or use a model that knows them",
        )
    if answer.length > max_tokens:
        return (
            f"An answer must have at most the {max_tokens} tokens that may be generated: it could never be right",
            f"{answer.length} tokens in {text}",
            "raise `max_tokens` (`max_gen_toks` in a task's YAML), or take the item out",
        )
    return None


def _short(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:60]!r}..."


def _refused(sample_id: str, must: str, found: str, remedy: str) -> UserError:
    return UserError(must, found=found, where=f"sample {sample_id}", remedy=remedy)


def check_ids(sample_id: str, ids: Iterable[int], tokenizer: PreTrainedTokenizerBase, embeddings: int) -> None:
    """Every token must be one that the model has an embedding for.

    Raises:
        UserError: one is not.
    """
    largest = max(ids)
    if largest >= embeddings:
        raise UserError(
            f"Every token of a sample must be one of the {embeddings} that the model has embeddings for",
            found=f"{tokenizer.convert_ids_to_tokens(largest)!r}, number {largest} of the tokenizer",
            where=f"sample {sample_id}",
            remedy="use the tokenizer that belongs to the model, or take the sample out of its task",
        )
