"""`pipeline.tokens.encoding`: prompts and continuations are cut where lm-eval's own models cut them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from pipeline.tokens.encoding import encode_pairs, encode_prompts
from wina_amp.models.load import LoadedModel


def test_prompt_and_continuation_are_the_encoding_of_the_whole_text(tiny_loaded: LoadedModel):
    tokenizer = tiny_loaded.tokenizer
    pairs = [("w1 w2", " w3 w4"), ("w5", " w6"), ("w1 w2", " w9")]
    assert encode_pairs(tokenizer, pairs) == [([1, 5, 6], [7, 8]), ([1, 9], [10]), ([1, 5, 6], [13])]
    assert encode_prompts(tokenizer, ["w1 w2", "w5", "w1 w2"]) == [[1, 5, 6], [1, 9], [1, 5, 6]]


def test_a_text_that_begins_with_bos_gets_no_second_one(tiny_loaded: LoadedModel):
    assert encode_prompts(tiny_loaded.tokenizer, ["<bos> w1", "w1"]) == [[1, 5], [1, 5]]


def test_spaces_at_the_end_of_a_prompt_belong_to_the_continuation():
    letters = {"a": 0, " ": 1, "b": 2, "?": 3, " b": 4}
    merging = Tokenizer(models.BPE(letters, [(" ", "b")], unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=merging, bos_token="?", unk_token="?")
    assert encode_pairs(tokenizer, [("a ", "b")]) == [([0], [4])]


@pytest.mark.parametrize(("text", "wanted"), [(" w3 w4", ([1], [7, 8])), ("<bos> w3", ([1], [7]))])
def test_an_empty_prompt_is_the_bos_token(tiny_loaded: LoadedModel, text: str, wanted: tuple[list[int], list[int]]):
    assert encode_pairs(tiny_loaded.tokenizer, [("", text)]) == [wanted]


def test_pairs_equal_those_of_lm_eval(tiny_loaded: LoadedModel):
    from lm_eval.models.huggingface import HFLM

    theirs = HFLM(pretrained=tiny_loaded.model, tokenizer=tiny_loaded.tokenizer, device="cpu")
    pairs = [("w1 w2 ", "w3"), ("w5", " w6 w7"), ("<bos> w1", " w2")]
    assert encode_pairs(tiny_loaded.tokenizer, pairs) == [theirs._encode_pair(*pair) for pair in pairs]
