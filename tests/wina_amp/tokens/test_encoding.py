"""`wina_amp.tokens.encoding`: prompts and continuations are cut where lm-eval's own models cut them."""

from __future__ import annotations

from typing import Any

import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken
from tokenizers.normalizers import Lowercase, Strip
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from transformers import PreTrainedTokenizerFast

from tests.reference.tokenizers import BOS, W1, W2, W3, merging, spelling, words
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.encoding import encode_alone, encode_pairs, encode_prompts

SPELT = [
    (prompt, continuation)
    for prompt in ("answer:", " answer: ", "<bos>answer:\n", "a  b")
    for continuation in (" Paris", "paris", "\n\np", "é")
] + [("", " paris")]


def saved_with_limits() -> PreTrainedTokenizerFast:
    tokenizer = words("<bos> $A", bos_token="<bos>")
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    return tokenizer


def ids(tokenizer: Any, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    return [(pair.prompt, pair.continuation) for pair in encode_pairs(tokenizer, pairs)]


def lm_evals(loaded: LoadedModel, tokenizer: Any, pairs: list[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """The tokens that lm-eval's Hugging Face model would score."""
    model = HFLM(pretrained=loaded.model, tokenizer=tokenizer, device="cpu")
    model._loglikelihood_tokens = lambda requests, **_: [(prompt, rest) for _, prompt, rest in requests]
    return model.loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs])


def test_prompt_and_continuation_are_the_encoding_of_the_whole_text(tiny_loaded: LoadedModel):
    tokenizer = tiny_loaded.tokenizer
    pairs = [("w1 w2", " w3 w4"), ("w5", " w6"), ("w1 w2", " w9")]
    assert ids(tokenizer, pairs) == [([1, 5, 6], [7, 8]), ([1, 9], [10]), ([1, 5, 6], [13])]
    assert encode_prompts(tokenizer, ["w1 w2", "w5", "w1 w2"]) == [[1, 5, 6], [1, 9], [1, 5, 6]]


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize(
    "text",
    [pytest.param("<bos> w1", id="BOS at the start"), pytest.param("\n<bos> w1", id="BOS behind a line break")],
)
def test_a_text_that_begins_with_bos_gets_no_second_one(tiny_loaded: LoadedModel, text: str):
    assert encode_prompts(tiny_loaded.tokenizer, [text, "w1"]) == [[1, 5], [1, 5]]


def test_spaces_at_the_end_of_a_prompt_belong_to_the_continuation():
    assert ids(merging((" ", "b")), [("a ", "b")]) == [([1], [5])]


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize(
    ("tokenizer", "pairs"),
    [
        pytest.param(words("<bos> $A", bos_token="<bos>"), [("w1 w2 ", "w3"), ("<bos> w1", " w2")], id="BOS in front"),
        pytest.param(
            saved_with_limits(), [("w1 w2 w3 w1", " w2 w3")], id="a tokenizer saved with truncation and padding"
        ),
        pytest.param(words("<bos> $A", bos_token="<bos>"), [("", "w3"), ("", "<bos> w3")], id="an empty prompt"),
        pytest.param(words("<bos> $A", bos_token="<bos>"), [(" \n", "w3")], id="a prompt of white space"),
        pytest.param(words(bos_token="<bos>"), [("w1", " w3"), ("", "w3")], id="a BOS that is not put in front"),
        pytest.param(words(eos_token="<eos>"), [("w1", " w3"), ("", "w3")], id="EOS and no BOS"),
        pytest.param(merging((" ", "b")), [("a ", "b"), ("a", " b")], id="a space that joins the next word"),
        pytest.param(merging(("a", "b")), [("ca", "bc")], id="a choice that joins the prompt's last token"),
        pytest.param(spelling(Metaspace(prepend_scheme="always")), SPELT, id="a space put in front of every text"),
        pytest.param(spelling(Metaspace(prepend_scheme="first")), SPELT, id="a space put in front of the first word"),
        pytest.param(spelling(Metaspace(prepend_scheme="never")), SPELT, id="spaces of the text alone"),
        pytest.param(spelling(ByteLevel(add_prefix_space=True)), SPELT, id="`add_prefix_space`"),
        pytest.param(spelling(ByteLevel(add_prefix_space=False), Lowercase()), SPELT, id="capitals made small"),
        pytest.param(spelling(ByteLevel(add_prefix_space=False), Strip()), SPELT, id="white space cut off"),
        pytest.param(
            spelling(ByteLevel(), None, AddedToken("answer:", lstrip=True, rstrip=True)),
            SPELT,
            id="an added token that takes the spaces beside it",
        ),
    ],
)
def test_pairs_equal_those_of_lm_eval(tiny_loaded: LoadedModel, tokenizer: Any, pairs: list[tuple[str, str]]):
    assert ids(tokenizer, pairs) == lm_evals(tiny_loaded, tokenizer, pairs)


@pytest.mark.tried("neighbours", "right")
@pytest.mark.parametrize(
    "template",
    [pytest.param("<eos> $A", id="a token that is not BOS"), pytest.param("<eos> <bos> $A", id="a token and BOS")],
)
def test_what_stands_in_front_of_a_text_does_not_depend_on_the_texts_beside_it(template: str):
    tokenizer = words(template, bos_token="<bos>", eos_token="<eos>")
    for text in ("", "<bos> w1", "w1"):
        alone = encode_prompts(tokenizer, [text])[0]
        assert alone == encode_prompts(tokenizer, ["<bos>", "w2", text, ""])[2]
        assert text.startswith("<bos>") or alone == tokenizer(text)["input_ids"]


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize(
    ("template", "plain"),
    [
        pytest.param("<bos> $A <eos>", "<bos> $A", id="EOS behind every text"),
        pytest.param("$A <eos>", "$A", id="EOS behind every text and no BOS"),
    ],
)
def test_eos_behind_a_prompt_is_left_out(tiny_loaded: LoadedModel, template: str, plain: str):
    special = {"bos_token": "<bos>", "eos_token": "<eos>"}
    pairs = [("w1 w2", " w3"), ("", "w3"), ("w1 ", "w2 w3")]
    ours = ids(words(template, **special), pairs)
    assert ours == lm_evals(tiny_loaded, words(plain, **special), pairs)
    assert encode_prompts(words(template, **special), ["w1", ""])[0][-1] == W1
    assert encode_prompts(words(template, **special), [""]) == [[BOS]]


@pytest.mark.tried("tokens", "right")
@pytest.mark.parametrize("prompt", [pytest.param("w1 w2", id="neither BOS nor EOS")])
def test_a_tokenizer_without_bos_and_eos_encodes_whatever_has_tokens(prompt: str):
    assert ids(words(), [(prompt, " w3")]) == [([W1, W2], [W3])]
    assert encode_prompts(words(), [prompt, ""]) == [[W1, W2], []]
    assert ids(words(), [("", "w3")]) == [([], [W3])]


def test_a_text_alone_has_nothing_around_it():
    assert encode_alone(words("<bos> $A <eos>", bos_token="<bos>", eos_token="<eos>"), ["w1"]) == [[W1]]
    assert encode_alone(words(), []) == []


@pytest.mark.tried("tokens", "warned")
@pytest.mark.parametrize("continuation", [pytest.param("bc", id="a choice that shares the prompt's last token")])
def test_continuations_that_share_a_token_with_their_prompt_are_known(continuation: str):
    tokenizer = merging(("a", "b"))
    pairs = encode_pairs(tokenizer, [("ca", continuation), ("ca", "cb"), ("", continuation), ("ca ", "b")])
    assert [pair.is_joined for pair in pairs] == [True, False, False, False]
