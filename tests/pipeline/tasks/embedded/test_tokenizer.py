"""The reference tokenizer reproduces every text of the benchmark exactly."""

from __future__ import annotations

import itertools

import pytest

from pipeline.tasks.embedded.computations import COMPUTATIONS, LEVELS
from pipeline.tasks.embedded.documents import documents
from pipeline.tasks.embedded.tokenizer import BOS, build


@pytest.mark.parametrize("computation", COMPUTATIONS)
def test_decoding_the_encoded_text_gives_the_text(computation: str) -> None:
    tokenizer = build(256)
    for document in itertools.islice(documents(computation, "train", LEVELS, 3), 32):
        text = f"{document.prompt} {document.question.answer}"
        ids = tokenizer.encode(text)
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text
        assert ids[0] == tokenizer.convert_tokens_to_ids(BOS)
        assert len(ids) < 256, "documents must fit the reference model's context"


def test_encoding_prompt_and_continuation_apart_equals_encoding_them_together() -> None:
    tokenizer = build(256)
    document = next(documents("addition", "train", LEVELS, 0))
    whole = tokenizer.encode(f"{document.prompt} {document.question.answer}")
    prompt = tokenizer.encode(document.prompt)
    assert whole[: len(prompt)] == prompt
    assert whole[len(prompt) :] == tokenizer.encode(document.question.answer, add_special_tokens=False)


def test_numbers_are_read_digit_by_digit() -> None:
    assert build(256).tokenize("407") == ["▁", "4", "0", "7"]
