"""`pipeline.tokens.chat`: a tokenizer without a template is refused, one that takes no system message gets none."""

from __future__ import annotations

import copy

import jinja2
import pytest

from pipeline.tokens.chat import ChatTemplate
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel

TURNS = [{"role": "system", "content": "w1"}, {"role": "user", "content": "w2"}]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %} {{ m['role'] }} {{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %} assistant{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}" + TEMPLATE


def template(loaded: LoadedModel, text: str | None) -> ChatTemplate:
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.chat_template = text
    return ChatTemplate(tokenizer)


def test_a_conversation_becomes_the_templates_text(tiny_loaded: LoadedModel):
    assert template(tiny_loaded, TEMPLATE)(TURNS) == "<bos> system w1 user w2 assistant"


def test_the_start_of_an_answer_stays_open(tiny_loaded: LoadedModel):
    turns = [*TURNS, {"role": "assistant", "content": "w3"}]
    assert template(tiny_loaded, TEMPLATE)(turns, False) == "<bos> system w1 user w2 assistant w3"


def test_a_template_that_takes_no_system_message_gets_none_and_says_so_once(tiny_loaded: LoadedModel, caplog):
    chat = template(tiny_loaded, NO_SYSTEM)
    assert chat(TURNS) == chat(TURNS) == "<bos> user w2 assistant"
    assert caplog.text.count("takes no system message") == 1


def test_a_template_that_fails_for_another_reason_is_not_tried_again(tiny_loaded: LoadedModel):
    with pytest.raises(jinja2.TemplateError):
        template(tiny_loaded, "{{ raise_exception('always') }}")(TURNS[1:])


def test_a_tokenizer_without_a_template_is_refused(tiny_loaded: LoadedModel):
    with pytest.raises(UserError, match=r"`benchmark\.chat_template: true` needs a tokenizer with a chat template"):
        template(tiny_loaded, None)
