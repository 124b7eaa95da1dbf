"""`wina_amp.decode.gated`: MLPs of transformers' own with silu are found, whatever else keeps its forward."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import silu

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.decode.gated import gated_mlps
from wina_amp.decode.masked_projections import halves
from wina_amp.models.projections import projections, sites

WITH_GELU = {"gemma3_text"}


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_is_found_computes_the_equation(kind: str):
    loaded = random_model(kind)
    every = sites(projections(loaded.model))
    mlps = gated_mlps(loaded, every)
    assert len(mlps) == len(every)
    assert [mlp is not None for mlp in mlps] == [site.name == "gate_up" and kind not in WITH_GELU for site in every]
    x = torch.randn(1, 3, 32, generator=torch.Generator().manual_seed(0))
    for mlp, site in zip(mlps, every, strict=True):
        if mlp is not None:
            gate, up = halves([projection.module(x) for projection in site.projections])
            assert torch.equal(mlp.module(x), mlp.down(silu(gate) * up))


def test_an_mlp_of_foreign_code_keeps_its_forward(monkeypatch: pytest.MonkeyPatch):
    loaded = random_model("llama")
    own = type(loaded.model.model.layers[1].mlp)
    loaded.model.model.layers[1].mlp.__class__ = type("Mlp", (own,), {"__module__": "remote.modeling"})
    mlps = gated_mlps(loaded, sites(projections(loaded.model)))
    assert sum(mlp is not None for mlp in mlps) == 1


def test_hooks_on_any_part_are_seen():
    loaded = random_model("llama")
    mlp = next(mlp for mlp in gated_mlps(loaded, sites(projections(loaded.model))) if mlp is not None)
    assert not mlp.is_watched and len(mlp.parts) == 3
    for part in mlp.parts:
        for register in (part.register_forward_hook, part.register_forward_pre_hook):
            handle = register(lambda *_given: None)
            assert mlp.is_watched
            handle.remove()
    assert not mlp.is_watched
