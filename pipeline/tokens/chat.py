"""Prompts in the tokenizer's chat template, the same ones when samples are taken and when they are evaluated.

lm-eval builds the messages (task description as system message, solved examples as earlier messages, the question as
the user's last one); the template makes a text of them. The rules are those of lm-eval's own Hugging Face models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jinja2
from transformers import PreTrainedTokenizerBase

from wina_amp.errors import UserError

log = logging.getLogger(__name__)


class ChatTemplate:
    """The tokenizer's chat template, which makes a prompt of a conversation.

    Raises:
        UserError: the tokenizer has no chat template.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not tokenizer.chat_template:
            raise UserError(
                "`benchmark.chat_template: true` needs a tokenizer with a chat template",
                found="a tokenizer without",
                where=str(tokenizer.name_or_path),
                remedy="set `benchmark.chat_template` to false, or `model.path` to a chat model",
            )
        self._tokenizer = tokenizer
        self._takes_system = True

    def __call__(self, chat_history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> str:
        """The text of the messages. Where the last one is the start of an answer (no generation prompt), it stays open.

        A template that refuses system messages gets the others, with one warning.
        """
        try:
            return self._rendered(chat_history, add_generation_prompt)
        except jinja2.TemplateError:
            others = [message for message in chat_history if message["role"] != "system"]
            if len(others) == len(chat_history):
                raise
            if self._takes_system:
                log.warning("The chat template takes no system message: task descriptions are left out, as in lm-eval")
                self._takes_system = False
            return self._rendered(others, add_generation_prompt)

    def _rendered(self, messages: Sequence[Mapping[str, str]], add_generation_prompt: bool) -> str:
        text: Any = self._tokenizer.apply_chat_template(
            [dict(message) for message in messages],
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return cast(str, text)
