"""`wina_amp.profile_set.likelihoods`: sums of log-probabilities, and parts of a prompt's continuations."""

from __future__ import annotations

import pytest
import torch

from tests.wina_amp.profile_set.sets import DENSE_PREFIX, profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set import likelihoods
from wina_amp.profile_set.generating import SparseCalls
from wina_amp.profile_set.likelihoods import rows, scores
from wina_amp.profile_set.sparsity import sparsify_
from wina_amp.tokens.packing import PackedRow

ROW = PackedRow([1, 2], [[3, 4, 5], [6], [0, 7]])
ROUNDING = 1e-5
"""Nats; float32 sums over a vocabulary of 8."""


@pytest.mark.parametrize("at_a_time", [1, 2, 512])
def test_scores_are_those_of_every_token_by_itself(monkeypatch: pytest.MonkeyPatch, at_a_time: int):
    monkeypatch.setattr(likelihoods, "_ROWS_AT_A_TIME", at_a_time)
    logits = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    logits[0, 6] = 9
    expected = []
    for continuation, predictors in zip(ROW.continuations, ([0, 1, 2], [0], [0, 3]), strict=True):
        own = [logits[p].double() - logits[p].double().logsumexp(0) for p in predictors]
        total = sum(float(row[token]) for row, token in zip(own, continuation, strict=True))
        expected.append((total, all(int(row.argmax()) == token for row, token in zip(own, continuation, strict=True))))
    found = scores(logits, ROW)
    assert [is_best for _, is_best in found] == [is_best for _, is_best in expected] == [False, True, False]
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], abs=ROUNDING)


def test_parts_keep_the_order_and_are_as_wide_as_allowed():
    prompt, continuations = [0] * 10, [[1] * length for length in (1, 3, 2, 9, 1, 1, 4)]
    for widest in (0, 12, 13, 30):
        parts = list(rows(prompt, continuations, widest))
        assert [continuation for part in parts for continuation in part] == continuations
        assert all(len(part) == 1 or PackedRow(prompt, part).width <= widest for part in parts)
    assert [len(part) for part in rows(prompt, continuations, 13)] == [3, 1, 3]
    assert list(rows(prompt, [], 13)) == []


def test_rows_of_their_own_give_the_scores_of_one_row_and_are_counted_together(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
):
    prompt, continuations = [5, 6, 7, 8], [[9, 10], [11], [12, 13, 14]]
    with sparsify_(tiny_loaded, profile_set(tiny_loaded), measure=True) as sparsity:
        together = sparsity.score(prompt, continuations)
        row, of_row = sparsity.eligible_tokens, sparsity.realised_sparsity
        monkeypatch.setattr(SparseCalls, "_widest_row", 0)
        apart, tokens = [], []
        for continuation in continuations:
            apart += sparsity.score(prompt, [continuation])
            tokens.append(sparsity.eligible_tokens)
        scored = sparsity.score(prompt, continuations)
        assert scored == apart and sparsity.eligible_tokens == sum(tokens)
        assert tokens == [4 - DENSE_PREFIX + behind for behind in (1, 0, 2)] and row == 4 - DENSE_PREFIX + 1 + 0 + 2
        assert 0 < (sparsity.realised_sparsity or 0) < 1 and 0 < (of_row or 0) < 1
    assert [score for score, _ in scored] == pytest.approx([score for score, _ in together], abs=ROUNDING)


def test_a_removed_set_scores_nothing(tiny_loaded: LoadedModel):
    sparsity = sparsify_(tiny_loaded, profile_set(tiny_loaded))
    sparsity.remove()
    with pytest.raises(UserError, match=r"must be on the model that scores.*put it on again"):
        sparsity.score([5, 6, 7], [[8]])
