"""`pipeline.tasks.refusals`: what evaluation could not score, or never as right, is refused with sample and remedy."""

from __future__ import annotations

import pytest

from pipeline.tasks.generation import Limits
from pipeline.tasks.refusals import Answer, check_answer, check_tokens
from tests.reference.tokenizers import merging, words
from wina_amp.errors import UserError
from wina_amp.tokens.encoding import encode_pairs

LIMITS = Limits(("\n", "Q:"), 3)


@pytest.mark.tried("tokens", "refused")
@pytest.mark.parametrize(
    ("tokenizer", "pairs", "message"),
    [
        pytest.param(
            merging(("a", "b")), [("ca", "b"), ("ca", "c")],
            r"continuation must have a token of its own.*none for 'b' behind 'ca'",
            id="a choice that joins the prompt's last token",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("w1", ""), ("w1", " w2")], r"none for '' behind 'w1'", id="an empty choice",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("w1", " ")], r"none for ' ' behind 'w1'", id="a choice of white space",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("", "<bos>")], r"none for '<bos>' behind ''", id="BOS behind an empty prompt",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("w1", " cat"), ("w1", " dog")],
            r"Choices that differ must have different tokens.*the same ones for ' cat' and ' dog'",
            id="two words that the tokenizer does not know",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("w1", " w2"), ("w1", " w2 ")], r"for ' w2' and ' w2 '", id="a space behind one",
        ),
        pytest.param(
            words(bos_token="<bos>"), [("a cat", " w2"), ("a dog", " w2")], r"for 'a cat' and 'a dog'",
            id="prompts of two choices",
        ),
        pytest.param(
            words(), [("", "w1")], r"prompt must have a token.*the prompt '', and a tokenizer that has neither",
            id="an empty prompt without BOS and EOS",
        ),
    ],
)  # fmt: skip
def test_texts_without_tokens_of_their_own_are_refused(tokenizer, pairs: list[tuple[str, str]], message: str):
    with pytest.raises(UserError, match=message + r".*sample quiz/test/7\."):
        check_tokens("quiz/test/7", pairs, encode_pairs(tokenizer, pairs))


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize(
    "pairs",
    [
        pytest.param([("w1", " w2"), ("w1", " w2")], id="the same choice twice"),
        pytest.param([("w1", " w2"), ("", " w2"), ("", " w1")], id="a choice without its prompt"),
        pytest.param([("w1", " w2 w3"), ("w1", " w2")], id="a choice that begins another"),
    ],
)
def test_texts_that_tokens_tell_apart_are_taken(pairs: list[tuple[str, str]]):
    check_tokens("quiz/test/7", pairs, encode_pairs(words(bos_token="<bos>"), pairs))


@pytest.mark.tried("texts", "refused")
@pytest.mark.parametrize(
    ("answers", "message"),
    [
        pytest.param([Answer("one\ntwo", 3)], r"not contain.*ends it.*'\\n' in 'one\\ntwo'", id="a line break"),
        pytest.param([Answer("FAQ: no", 3)], r"'Q:' in 'FAQ: no'", id="a stop text within a word"),
        pytest.param([Answer("a</s>", 3)], r"'</s>' in 'a</s>'", id="EOS"),
        pytest.param([Answer("one two", 4)], r"at most the 3 .*4 tokens in 'one two'.*`max_tokens`", id="too long"),
        pytest.param([Answer("é", 1, is_known=False)], r"can write.*does not know in 'é'", id="an unknown character"),
        pytest.param([Answer("a\nb", 1), Answer("c", 9)], r"'\\n' in", id="two answers, neither possible"),
    ],
)  # fmt: skip
def test_an_answer_that_can_never_be_generated_is_refused(answers: list[Answer], message: str):
    with pytest.raises(UserError, match=message):
        check_answer("poem/test/7", answers, LIMITS, "</s>")


@pytest.mark.tried("texts", "right")
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Answer("one two", 3)], id="as many tokens as may be generated"),
        pytest.param([Answer("one\ntwo", 3), Answer("one", 1)], id="one of two answers"),
    ],
)
def test_an_answer_that_can_be_generated_is_taken(answers: list[Answer]):
    check_answer("poem/test/7", answers, LIMITS, None)
