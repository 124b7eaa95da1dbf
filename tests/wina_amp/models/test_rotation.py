"""`wina_amp.models.rotation`: an input is rotated exactly once, however it is handed over, and its width is counted."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.evaluate.method import shape_of
from tests.wina_amp.allocation.blocks import CONFIGS
from tests.wina_amp.models.rotated import BLOCKS, rotated_model, uneven_model
from wina_amp.models.rotation import rotate_input, rotated, rotated_widths

VECTORS = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
X = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
ROTATED = torch.tensor([[[-2.0, 1.0], [-4.0, 3.0]]])  # row by row V^T x


class _Reader(nn.Module):
    def forward(self, hidden_states, scale=1.0):
        return hidden_states * scale


@pytest.mark.parametrize(
    "call", [lambda m: m(X, 2.0), lambda m: m(X, scale=2.0), lambda m: m(hidden_states=X, scale=2.0)]
)
def test_a_module_reads_the_rotated_input_as_first_or_named_argument(call):
    module = _Reader()
    rotate_input(module, VECTORS)
    assert torch.equal(call(module), 2 * ROTATED)
    assert torch.equal(rotated(module, X), ROTATED)


def test_without_a_rotation_nothing_happens():
    module = _Reader()
    assert torch.equal(module(X), X) and rotated(module, X) is X


def test_an_input_is_not_rotated_twice():
    module = _Reader()
    rotate_input(module, VECTORS)
    with pytest.raises(ValueError, match="_Reader is rotated already"):
        rotate_input(module, VECTORS)


def test_vectors_move_with_the_module_and_are_not_saved():
    module = _Reader()
    rotate_input(module, VECTORS)
    assert not module.state_dict() and not list(module.parameters())
    module.to(torch.float64)
    assert module(X.double()).dtype == torch.float64


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_block_has_two_rotated_inputs_as_wide_as_the_residual_stream(kind):
    plain, loaded = uneven_model(kind), rotated_model(kind)
    assert rotated_widths(plain) == shape_of(plain, None).rotations == ()
    assert rotated_widths(loaded) == shape_of(loaded, None).rotations == (32,) * 2 * BLOCKS
    assert rotated_widths(loaded, blocks=1) == (32, 32)
