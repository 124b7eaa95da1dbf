"""`wina_amp.masks.eligibility`: parity with a token-by-token transcription; independence of padding."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import pytest
import torch

from tests.reference import capture as reference
from wina_amp.masks.eligibility import eligible, prefix_lengths

PROMPTS = [1, 2, 7, 30, 100, 128]
TOTALS = [1, 5, 7, 31, 128, 130]


def _prefix(dense_prefix):
    if isinstance(dense_prefix, int):
        return lambda prompt: min(dense_prefix, prompt)
    return lambda prompt: int((Decimal(str(dense_prefix)) * prompt).to_integral_value(ROUND_CEILING))


@pytest.mark.parametrize("dense_prefix", [0, 1, 4, 0.0, 0.01, 0.1, 0.5, 0.99])
def test_a_token_is_eligible_behind_the_dense_prefix_and_before_the_padding(dense_prefix):
    marked = eligible(torch.tensor(PROMPTS), torch.tensor(TOTALS), 140, dense_prefix)
    assert marked.tolist() == reference.eligible(PROMPTS, TOTALS, 140, _prefix(dense_prefix))


def test_a_fraction_is_rounded_up_exactly_where_floating_point_would_overshoot():
    assert 0.07 * 100 > 7
    assert prefix_lengths(torch.tensor([100, 101]), 0.07).tolist() == [7, 8]


def test_continuation_tokens_are_eligible_even_when_the_prompt_is_shorter_than_the_dense_prefix():
    assert eligible(torch.tensor([2]), torch.tensor([4]), 5, 3).tolist() == [[False, False, True, True, False]]


def test_eligibility_does_not_depend_on_the_rest_of_the_batch():
    together = eligible(torch.tensor(PROMPTS), torch.tensor(TOTALS), 140, 0.3)
    for row, (prompt, total) in enumerate(zip(PROMPTS, TOTALS, strict=True)):
        alone = eligible(torch.tensor([prompt]), torch.tensor([total]), total, 0.3)
        assert torch.equal(together[row, :total], alone[0])
        assert not together[row, total:].any()


@pytest.mark.parametrize("dense_prefix", [-1, -0.1, 1.0, 2.5, float("nan")])
def test_a_dense_prefix_that_is_no_count_and_no_fraction_is_refused(dense_prefix):
    with pytest.raises(ValueError, match="dense_prefix"):
        eligible(torch.tensor([3]), torch.tensor([3]), 3, dense_prefix)
