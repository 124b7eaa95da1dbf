"""`wina_amp.models.skeleton`: the shapes of the loaded model, without its weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites, maskable_fraction
from wina_amp.models.projections import projections
from wina_amp.models.skeleton import skeleton


def test_it_has_the_shapes_of_the_loaded_model_and_no_weights(tiny_llama: Path, tiny_loaded: LoadedModel):
    bare = skeleton(tiny_llama, None)
    assert all(weight.is_meta for weight in bare.parameters())
    models = (bare, tiny_loaded.model)
    shapes = [[(each.block, each.name, each.module.weight.shape) for each in projections(model)] for model in models]
    assert shapes[0] == shapes[1]
    fractions = [maskable_fraction(mask_sites(model, "activated_gate"), projections(model)) for model in models]
    assert fractions[0] == fractions[1] == 2 * 32 * 48 / (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48)


def test_weights_are_not_looked_for(tiny_llama: Path, tmp_path: Path):
    (tmp_path / "config.json").write_text((tiny_llama / "config.json").read_text())
    assert len(projections(skeleton(tmp_path, None))) == 14


def test_a_missing_config_and_an_unknown_family_are_refused(tiny_llama: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"readable config\.json"):
        skeleton(tmp_path, None)
    config = json.loads((tiny_llama / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    with pytest.raises(UserError, match=r"model family .*'gpt2'"):
        skeleton(tmp_path, None)
