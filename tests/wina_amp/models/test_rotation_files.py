"""`wina_amp.models.rotation_files`: stored bases rotate a model as fresh ones do, and damage is the user's error."""

from __future__ import annotations

import pytest
import torch

from tests.wina_amp.models.rotated import rotated_model, uneven_model
from wina_amp.errors import UserError
from wina_amp.models.rotation import MODULES
from wina_amp.models.rotation_files import file_name, load_bases, rotate_model, save_bases
from wina_amp.models.transform import block_bases

IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))
STORED = 1e-5
"""Largest difference of two logits relative to their RMS: one float32 rounding of V against none. Found: 3.1e-6."""


def _save(folder, kind="llama"):
    loaded = uneven_model(kind)
    for block in range(len(loaded.layers)):
        save_bases(block_bases(loaded, block), folder / file_name(block))


def _logits(loaded):
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits


def test_a_model_rotated_by_stored_bases_is_the_one_rotated_by_fresh_ones(tmp_path):
    _save(tmp_path)
    loaded = uneven_model("llama")
    rotate_model(loaded, tmp_path)
    fresh = _logits(rotated_model("llama"))
    assert float((_logits(loaded) - fresh).abs().max()) <= STORED * float(fresh.square().mean().sqrt())


def test_bases_come_back_in_float32_and_are_written_as_the_same_bytes(tmp_path):
    bases = block_bases(uneven_model("phi3"), 1)
    for name in ("a", "b"):
        save_bases(bases, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded_bases = load_bases(tmp_path / "a")
    assert set(loaded_bases) == set(MODULES)
    for site, saved in bases.items():
        assert torch.equal(loaded_bases[site].vectors, saved.vectors.float())
        assert torch.equal(loaded_bases[site].values, saved.values.float())


def test_there_is_a_file_for_every_block():
    assert [file_name(block) for block in (0, 31)] == ["00000.safetensors", "00031.safetensors"]


def test_a_missing_damaged_or_foreign_file_is_the_users_error(tmp_path):
    said = r"rotations of every block must be readable.*00001\.safetensors.*chmod"
    _save(tmp_path)
    file = tmp_path / file_name(1)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(UserError, match=said):
        rotate_model(uneven_model("llama"), tmp_path)
    file.unlink()
    with pytest.raises(UserError, match=said):
        rotate_model(uneven_model("llama"), tmp_path)
    bases = block_bases(uneven_model("llama"), 1)
    save_bases({"qkv": bases["qkv"]}, file)
    with pytest.raises(UserError, match=said):
        rotate_model(uneven_model("llama"), tmp_path)


def test_bases_of_another_model_are_refused(tmp_path):
    _save(tmp_path, "qwen3")
    loaded = uneven_model("qwen3")
    loaded.model.model.layers[0].mlp.gate_proj.weight.mul_(2)
    with pytest.raises(UserError, match=r"those of the model.*norms that differ by.*block 0, projection gate"):
        rotate_model(loaded, tmp_path)
