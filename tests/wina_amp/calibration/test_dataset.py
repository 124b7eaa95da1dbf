"""`wina_amp.calibration.dataset`: every form of item becomes the tokens that evaluation would read, others are
refused."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from wina_amp.calibration.dataset import tokenized
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.tokens.encoding import encode_pairs
from wina_amp.tokens.samples import TokenizedSample

TEXT = "w1 w2 w3 w4 w5 w6 w7"
PROMPT, ANSWER = "w1 w2 w3", " w4 w5"
CHAT = [{"role": "user", "content": "w1 w2"}, {"role": "assistant", "content": "w3 w4"}]
TEMPLATE = (
    "{% for message in messages %}{{ 'w50 ' if message.role == 'user' else 'w51 ' }}{{ message.content }} w52 "
    "{% endfor %}{% if add_generation_prompt %}w51 {% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer(tiny_loaded: LoadedModel) -> PreTrainedTokenizerBase:
    return tiny_loaded.tokenizer


@pytest.fixture(scope="module")
def chatting(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The tokenizer with a chat template."""
    made = deepcopy(tokenizer)
    made.chat_template = TEMPLATE
    return made


def read(dataset: object, tokenizer: PreTrainedTokenizerBase, **changes: int) -> list[TokenizedSample]:
    return tokenized(dataset, tokenizer, **{"samples": 8, "length": 64, "dense_prefix": 1} | changes)  # pyright: ignore


@pytest.mark.parametrize("form", [TEXT, {"text": TEXT}, {"text": TEXT, "label": 3}])
def test_a_text_is_a_prompt_and_its_continuation_half_of_the_tokens_each(form: object, tokenizer) -> None:
    (sample,) = read([form], tokenizer)
    assert sample.ids == tokenizer(TEXT)["input_ids"]  # BOS and seven words
    assert len(sample.prompt_ids) == len(sample.answer_ids) == 4


@pytest.mark.parametrize(
    "form",
    [
        pytest.param((PROMPT, ANSWER), id="tuple"),
        pytest.param([PROMPT, ANSWER], id="list"),
        pytest.param({"prompt": PROMPT, "completion": ANSWER}, id="prompt and completion"),
    ],
)
def test_prompt_and_answer_are_encoded_as_evaluation_encodes_them(form: object, tokenizer) -> None:
    (sample,) = read([form], tokenizer)
    (pair,) = encode_pairs(tokenizer, [(PROMPT, ANSWER)])
    assert (sample.prompt_ids, sample.answer_ids) == (pair.prompt, pair.continuation)


@pytest.mark.parametrize("form", [CHAT, {"messages": CHAT}, {"prompt": "x", "completion": "y", "messages": CHAT}])
def test_the_answer_of_a_conversation_is_its_last_message(form: object, chatting) -> None:
    (sample,) = read([form], chatting)
    assert chatting.decode(sample.prompt_ids) == "<bos> w50 w1 w2 w52 w51"
    assert chatting.decode(sample.answer_ids) == "w3 w4 w52"


def test_datasets_lists_and_endless_iterators_are_read_as_far_as_needed(tokenizer) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield TEXT

    rows = Dataset.from_list([{"text": TEXT}] * 9)
    assert read(rows, tokenizer) == read(endless(), tokenizer) == read([TEXT] * 20, tokenizer)
    assert [sample.sample_id for sample in read(rows, tokenizer)] == [f"{number:08d}" for number in range(8)]


def test_what_is_too_long_is_cut_and_what_is_too_short_is_passed_over(tokenizer) -> None:
    long, short = "w1 " * 100, ["", "w1", ("w1", ""), ("w1 " * 30, " w2")]
    samples = read([*short, long, (PROMPT, " w4" * 50)], tokenizer, length=16)
    assert [sample.length for sample in samples] == [16, 16]
    assert [len(sample.prompt_ids) for sample in samples] == [8, 4]
    assert len(read([long], tokenizer, length=16, dense_prefix=7)) == 1
    with pytest.raises(UserError, match=r"longer than the dense prefix.*Found: none of 1"):
        read([long], tokenizer, length=16, dense_prefix=8)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        pytest.param("w1 w2", "one text", id="a text in place of texts"),
        pytest.param(DatasetDict({"train": Dataset.from_list([{"text": TEXT}])}), r'dataset\["train"\]', id="splits"),
        pytest.param(pd.DataFrame({"text": [TEXT]}), r'to_dict\("records"\)', id="a DataFrame"),
        pytest.param(7, "Found: int", id="a number"),
        pytest.param([TEXT, {"instruction": TEXT}], "dict with instruction. Where: item 1", id="other columns"),
        pytest.param([{"text": None}], "dict with text", id="an empty cell"),
        pytest.param([(PROMPT, ANSWER, ANSWER)], "Found: tuple", id="three texts"),
        pytest.param([[1, 2, 3]], "Found: list", id="token ids"),
        pytest.param([CHAT[:1]], "last message.*Found: user", id="a conversation without an answer"),
        pytest.param([CHAT], "chat template", id="a conversation and no chat template"),
        pytest.param([], "none of 0", id="nothing"),
        pytest.param(["", "w1"], "none of 2", id="nothing that is long enough"),
    ],
)
def test_what_is_no_dataset_of_texts_is_refused(dataset: object, message: str, tokenizer) -> None:
    with pytest.raises(UserError, match=message):
        read(dataset, tokenizer)
