"""`wina_amp.profile_set.prompts`: prompts are read without their padding, or refused."""

from __future__ import annotations

import pytest
import torch

from wina_amp.errors import UserError
from wina_amp.profile_set.prompts import check_positions, prompts_of

CPU = torch.device("cpu")
IDS = torch.tensor([[0, 7, 8, 9], [5, 6, 7, 8]])
MASK = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
EMBEDDED = torch.zeros(2, 4, 3)


def test_padding_is_left_out_of_prompts():
    prompts = prompts_of(IDS, None, MASK, CPU, where="a call")
    assert [row.tolist() for row in prompts.alone()] == [[7, 8, 9], [5, 6, 7, 8]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
def test_a_mask_may_be_of_any_dtype(dtype: torch.dtype):
    prompts = prompts_of(IDS, None, MASK.to(dtype), CPU, where="a call")
    assert [len(row) for row in prompts.alone()] == [3, 4]


def test_one_prompt_needs_no_mask_and_a_cache_lengthens_it():
    assert prompts_of(IDS[:1], None, None, CPU, where="a call").mask.shape == (1, 4)
    assert prompts_of(IDS[:1], None, None, CPU, where="a call", cached=3).mask.shape == (1, 7)


def test_embeddings_have_no_ids():
    prompts = prompts_of(None, EMBEDDED, MASK, CPU, where="a call")
    assert prompts.ids is None and torch.equal(prompts.mask, MASK)


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("ids", "embedded", "mask", "message"),
    [
        pytest.param(None, None, None, r"must be token ids.* Found: NoneType", id="no prompt"),
        pytest.param([1, 2], None, None, "Found: list", id="a list"),
        pytest.param(IDS[0], None, None, r"Found: \[4\] in torch\.int64", id="a row"),
        pytest.param(IDS.float(), None, None, r"Found: \[2, 4\] in torch\.float32", id="ids that are no whole numbers"),
        pytest.param(None, EMBEDDED[0], None, r"Found: \[4, 3\] in torch\.float32", id="embeddings of a row"),
        pytest.param(IDS, None, None, "attention mask. Found: 2 prompts and no mask", id="several without a mask"),
        pytest.param(IDS, None, MASK[:1], r"shape, \[2, 4\]\. Found: \[1, 4\]", id="a mask of other prompts"),
        pytest.param(IDS, None, MASK[:, None, None], r"Found: \[2, 1, 1, 4\]", id="a mask of four dimensions"),
        pytest.param(IDS, None, {"full": MASK}, "Found: dict", id="masks by kind of layer"),
        pytest.param(IDS, None, MASK * 0, "a row of padding alone", id="padding alone"),
    ],
)
def test_what_is_no_prompt_is_refused(ids, embedded, mask, message: str):
    with pytest.raises(UserError, match=message):
        prompts_of(ids, embedded, mask, CPU, where="a call")


def test_rows_of_several_sequences_are_refused():
    check_positions(None, where="a call")
    check_positions(torch.arange(4)[None], where="a call")
    with pytest.raises(UserError, match=r"must hold one sequence.* `position_ids` that begin anew"):
        check_positions(torch.tensor([[0, 1, 0, 1]]), where="a call")
