"""`wina_amp.decode.masked_projections`: those that run one after the other; for
what backends make of shared ones see `test_backends.py`."""

from __future__ import annotations

import pytest
import torch

from wina_amp.decode.masked_projections import Separate, halves


def test_separate_maps_are_given_the_same_input_and_groups():
    x, groups = torch.ones(2, 3), torch.tensor([1, 0])
    projections = Separate([lambda x, groups: x * 2, lambda x, groups: x + groups[:, None]])
    first, second = projections(x, groups)
    assert torch.equal(first, 2 * x) and second.tolist() == [[2.0] * 3, [1.0] * 3]
    assert torch.equal(projections.gated(x, groups), torch.nn.functional.silu(first) * second)


def test_halves_are_two_maps_or_those_of_one():
    fused = torch.arange(6.0)[None]
    assert [half.tolist() for half in halves((fused,))] == [[[0.0, 1.0, 2.0]], [[3.0, 4.0, 5.0]]]
    assert halves((fused, fused)) == (fused, fused)
    with pytest.raises(ValueError, match="got widths 6, 5"):
        halves((fused, fused[:, :5]))
