"""`pipeline.tokens.chat`: a tokenizer without a template is refused, one that takes no system message gets none."""

from __future__ import annotations

import copy
from datetime import date

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
    return ChatTemplate(tokenizer, date(2026, 3, 1))


def test_a_conversation_becomes_the_templates_text(tiny_loaded: LoadedModel):
    assert template(tiny_loaded, TEMPLATE)(TURNS) == "<bos> system w1 user w2 assistant"


def test_the_start_of_an_answer_stays_open(tiny_loaded: LoadedModel):
    turns = [*TURNS, {"role": "assistant", "content": "w3"}]
    assert template(tiny_loaded, TEMPLATE)(turns, False) == "<bos> system w1 user w2 assistant w3"


def test_a_template_may_leave_out_the_reasoning_of_earlier_answers(tiny_loaded: LoadedModel):
    turns = [TURNS[1], {"role": "assistant", "content": "<think>w3</think>\n\nw4"}, TURNS[1]]
    brief = "{% for m in messages %} {{ m.content.split('</think>')[-1] | trim }}{% endfor %}"
    assert template(tiny_loaded, brief)(turns) == " w2 w4 w2"


def test_a_template_that_takes_no_system_message_gets_none_and_says_so_once(tiny_loaded: LoadedModel, caplog):
    chat = template(tiny_loaded, NO_SYSTEM)
    assert chat(TURNS) == chat(TURNS) == "<bos> user w2 assistant"
    assert caplog.text.count("takes no system message") == 1


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param("{{ raise_exception('always') }}", "TemplateError: always", id="a template that raises"),
        pytest.param("{{ messages", "TemplateSyntaxError", id="half a template"),
        pytest.param("{{ messages[9].content.x }}", "UndefinedError", id="a template for longer conversations"),
        pytest.param("{{ tools | length }}", "TypeError", id="a template that needs tools"),
        pytest.param(
            "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}",
            "none of the user's 'w2'",
            id="a template for messages in parts",
        ),
        pytest.param(
            "{{ messages[-1].content }}", "none of the user's 'w2'", id="a template that leaves out earlier turns"
        ),
    ],
)
def test_a_template_that_fails_is_refused_and_ends_no_turn(tiny_loaded: LoadedModel, text: str, error: str):
    chat = template(tiny_loaded, text)
    with pytest.raises(UserError, match=rf"chat template must make a text of every conversation\. Found: {error}"):
        chat([*TURNS, {"role": "assistant", "content": "w3"}, {"role": "user", "content": "w4"}])
    assert chat.turn_end() is None


def test_a_template_that_fails_on_an_answer_says_that_no_turn_ends(tiny_loaded: LoadedModel, caplog):
    chat = template(tiny_loaded, "{% if messages | length > 1 %}{{ raise_exception('one question') }}{% endif %}w")
    assert chat.turn_end() is None
    assert "The chat template ends no answer (TemplateError)" in caplog.text


def test_a_tokenizer_without_a_template_is_refused(tiny_loaded: LoadedModel):
    with pytest.raises(UserError, match=r"`benchmark\.chat_template: true` needs a tokenizer with a chat template"):
        template(tiny_loaded, None)


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{{ m['content'] | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "Today Date: {{ date_string }}{% for m in messages %} {{ m['content'] }}<|eot_id|>{% endfor %}"
)


@pytest.mark.tried("volatile", "right")
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(LLAMA, "01 Mar 2026", id="Llama 3.1's date_string"),
        pytest.param(
            "{{ strftime_now('%Y-%m-%d %H:%M') }} {{ messages[0].content }}",
            "2026-03-01 00:00",
            id="a template that reads the time",
        ),
    ],
)
def test_a_template_that_asks_for_the_date_is_told_the_one_of_the_settings(
    tiny_loaded: LoadedModel, text: str, shown: str
):
    assert shown in template(tiny_loaded, text)(TURNS[1:])


@pytest.mark.tried("ends", "right")
@pytest.mark.parametrize(
    ("text", "end"),
    [
        pytest.param(CHATML, "<|im_end|>", id="<|im_end|>"),
        pytest.param(GEMMA, "<end_of_turn>", id="<end_of_turn>"),
        pytest.param(LLAMA, "<|eot_id|>", id="<|eot_id|>"),
        pytest.param("{% for m in messages %}{{ m['content'] }} {{ eos_token }}{% endfor %}", "<eos>", id="EOS"),
        pytest.param(TEMPLATE, None, id="no token of its own"),
        pytest.param("{% for m in messages %}### {{ m['content'] }}\n{% endfor %}", None, id="a line break"),
        pytest.param("{{ messages[0]['content'] }}", None, id="a template that leaves answers out"),
    ],
)
def test_the_token_that_ends_a_turn_is_read_off_the_template(tiny_loaded: LoadedModel, text: str, end: str | None):
    chat = template(tiny_loaded, text)
    chat._tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<|eot_id|>"]})
    chat._tokenizer.add_tokens(["<end_of_turn>"])
    assert chat.turn_end() == (None if end is None else chat._tokenizer.convert_tokens_to_ids(end))
