"""`wina_amp.masks.kinds`: the kinds a user can name, and that each builds the mask of its module."""

from __future__ import annotations

import pytest
import torch

from pipeline.storage.schemas import PROFILES
from wina_amp import names
from wina_amp.errors import UserError
from wina_amp.masks import reference, topk
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.masks.kinds import MASKS, mask_kind

X = torch.randn(2, 3, 10, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand(10, generator=torch.Generator().manual_seed(1))
GROUPS = torch.tensor([1, 0])
COUNTED = torch.ones(2, 3).bool()


def _counter() -> torch.Tensor:
    return torch.zeros(2, dtype=torch.int64)


def test_threshold_builds_the_mask_of_the_reference():
    values = torch.tensor([0.2, 0.5])
    kept, wanted = _counter(), _counter()
    masked = mask_kind("threshold").build(WEIGHTS, values)(X, GROUPS, COUNTED, kept, None)
    assert torch.equal(masked, reference.mask(X, cutoffs(WEIGHTS, values), GROUPS, COUNTED, wanted))
    assert torch.equal(kept, wanted)


def test_topk_builds_the_mask_that_keeps_k_of_the_rows_group():
    kept, wanted = _counter(), _counter()
    values = torch.tensor([0.9, 0.4], dtype=torch.float64)
    masked = mask_kind("topk").build(WEIGHTS, values)(X, GROUPS, COUNTED, kept, None)
    assert torch.equal(masked, topk.mask(X, WEIGHTS, torch.tensor([1, 6]), 6, GROUPS, COUNTED, wanted))
    assert kept.tolist() == [3 * 6, 3 * 1]


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(UserError, match=r"mask must be one of prompt, threshold, topk.*'topkk'.*did you mean 'topk'"):
        mask_kind("topkk")


def test_the_settings_know_exactly_the_kinds_that_exist_and_their_columns_are_in_the_table():
    assert set(names.MASKS) == set(MASKS)
    assert {kind.column for kind in MASKS.values()} <= {column.name for column in PROFILES.columns}
