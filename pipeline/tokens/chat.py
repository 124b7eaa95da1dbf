"""Prompts in the tokenizer's chat template, the same ones when samples are taken and when they are evaluated.

lm-eval builds the messages (task description as system message, solved examples as earlier messages, the question as
the user's last one); the template makes a text of them. The rules are those of lm-eval's own Hugging Face models.

A template that asks for today's date (`strftime_now`: Llama 3.1's, for example) is told a fixed one, so that a prompt
is the same whenever it is made.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from typing import Any, cast

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.utils import chat_template_utils

from wina_amp.errors import UserError

log = logging.getLogger(__name__)

_ANSWER = "the answer"


class ChatTemplate:
    """The tokenizer's chat template, which makes a prompt of a conversation.

    Args:
        tokenizer: the model's.
        today: the date that the template is told.

    Raises:
        UserError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, today: date) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                "`benchmark.chat_template: true` needs a tokenizer with a chat template",
                found="a tokenizer without",
                where=str(tokenizer.name_or_path),
                remedy="set `benchmark.chat_template` to false, or `model.path` to a chat model",
            )
        self._tokenizer = tokenizer
        self._today = today
        self._takes_system = True

    def __call__(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of the messages. Where the last one is the start of an answer (no generation prompt), it stays open.

        A template that refuses system messages gets the others, with one warning.

        Raises:
            UserError: the template fails, or leaves out what is asked or answered (templates for messages in parts).
        """
        messages = list(chat_history)
        others = [message for message in messages if message["role"] != "system"]
        try:
            if len(others) == len(messages):
                text = self._rendered(messages, add_generation_prompt)
            else:
                text = self._with_system(messages, others, add_generation_prompt)
        except Exception as error:
            raise self._refused(f"{type(error).__name__}: {error}") from error
        lost = next((message for message in others if _said(message) not in text), None)
        if lost is not None:
            raise self._refused(f"none of the {lost['role']}'s {lost['content']!r}")
        return text

    def _refused(self, found: str) -> UserError:
        return UserError(
            "The chat template must make a text of every conversation",
            found=found,
            where=f"the chat template of {self._tokenizer.name_or_path}",
            remedy="set `benchmark.chat_template` to false, or correct the template",
        )

    def _with_system(
        self, messages: Sequence[Mapping[str, str]], others: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> str:
        try:
            return self._rendered(messages, add_generation_prompt)
        except jinja2.TemplateError:
            if self._takes_system:
                log.warning("The chat template takes no system message: task descriptions are left out, as in lm-eval")
                self._takes_system = False
            return self._rendered(others, add_generation_prompt)

    def turn_end(self) -> int | None:
        """The token that ends the assistant's turn (`<|im_end|>`, `<end_of_turn>`, `<|eot_id|>`); None where the
        template puts no token of its own behind an answer."""
        try:
            text = self._apply([{"role": "user", "content": "w"}, {"role": "assistant", "content": _ANSWER}])
        except Exception as error:  # a template for questions alone
            log.warning("The chat template ends no answer (%s): only the task's own strings do", type(error).__name__)
            return None
        behind = text.rpartition(_ANSWER)[2].strip() if _ANSWER in text else ""
        ids = cast(list[int], self._tokenizer(behind, add_special_tokens=False)["input_ids"])
        tokens: Any = self._tokenizer.added_tokens_decoder
        return ids[0] if ids and ids[0] in tokens and ids[0] != self._tokenizer.unk_token_id else None

    def _rendered(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        return self._apply(
            messages, add_generation_prompt=add_generation_prompt, continue_final_message=not add_generation_prompt
        )

    def _apply(self, messages: Sequence[Mapping[str, str]], **options: Any) -> str:
        with _clock_stopped(self._today):
            text: Any = cast(Any, self._tokenizer).apply_chat_template(
                [dict(message) for message in messages], tokenize=False, **options
            )
        return cast(str, text)


def _said(message: Mapping[str, str]) -> str:
    """What a template must show of a message: some leave out white space around it, and the reasoning in front."""
    return message["content"].rpartition("</think>")[2].strip()


class _StoppedClock:
    """In place of the class `datetime`."""

    def __init__(self, today: date) -> None:
        self._now = datetime.combine(today, time())

    def now(self) -> datetime:
        """The beginning of that day."""
        return self._now


@contextmanager
def _clock_stopped(today: date) -> Generator[None]:
    """Let templates read a fixed date. transformers gives them a function that reads the clock, and takes no other."""
    module: Any = chat_template_utils
    before = module.datetime
    module.datetime = _StoppedClock(today)
    try:
        yield
    finally:
        module.datetime = before
