"""`wina_amp.decode.shared_input`: layers of one input are computed together, and every product is taken once."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wina_amp.decode.shared_input import MaskedLayer, SharedInput

GROUPS = torch.tensor([0, 1])


@pytest.fixture
def shared() -> SharedInput:
    draw = torch.Generator().manual_seed(0)
    layers = []
    for outputs in (5, 7):
        layer = nn.Linear(4, outputs).requires_grad_(False)
        layer.weight.copy_(torch.randn(outputs, 4, generator=draw))
        layers.append(MaskedLayer(layer, torch.tensor([[0.5] * 4, [0.0] * 4])))
    built = SharedInput(layers)
    built.build("reference")
    return built


@pytest.fixture
def runs(shared: SharedInput, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The inputs that the backend was run on."""
    inputs: list[torch.Tensor] = []
    sparse = shared.built["reference"]

    def counted(x: torch.Tensor, groups: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inputs.append(x)
        return sparse(x, groups)

    monkeypatch.setitem(shared.built, "reference", counted)
    return inputs


def _x(seed: int) -> torch.Tensor:
    return torch.randn(2, 1, 4, generator=torch.Generator().manual_seed(seed))


def _expected(shared: SharedInput, index: int, x: torch.Tensor) -> torch.Tensor:
    layer = shared.layers[index]
    return layer.module(torch.where(x.abs() <= layer.cutoffs[GROUPS][:, None], 0.0, x))


def test_one_run_gives_the_products_of_all_layers(shared: SharedInput, runs: list[torch.Tensor]):
    x, waiting = _x(1), {}
    for index in (1, 0):
        product = shared.product(index, x, "reference", GROUPS, waiting)
        torch.testing.assert_close(product, _expected(shared, index, x))
    assert len(runs) == 1 and not waiting


def test_a_layer_with_another_input_or_called_again_computes_anew(shared: SharedInput, runs: list[torch.Tensor]):
    x, other, waiting = _x(1), _x(2), {}
    shared.product(0, x, "reference", GROUPS, waiting)
    shared.product(0, x, "reference", GROUPS, waiting)
    torch.testing.assert_close(shared.product(1, other, "reference", GROUPS, waiting), _expected(shared, 1, other))
    assert len(runs) == 3


def test_calls_do_not_take_each_others_products(shared: SharedInput, runs: list[torch.Tensor]):
    x, one, other = _x(1), {}, {}
    shared.product(0, x, "reference", GROUPS, one)
    shared.product(1, x, "reference", GROUPS, other)
    assert len(runs) == 2 and one.keys() == other.keys() == {shared}


def test_a_backend_is_built_once(shared: SharedInput):
    built = shared.built["reference"]
    shared.build("reference")
    assert shared.built == {"reference": built}
