"""`wina_amp.profile_set.profile_set`: folders come back, damage and other models are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.wina_amp.allocation.blocks import random_model
from tests.wina_amp.profile_set.sets import description, profile_set
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.models.transform import block_bases, rotate_block
from wina_amp.profile_set.files import DESCRIPTION
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

IDS = torch.tensor([[5, 9, 30, 41, 7]])


@pytest.mark.parametrize("kind", [None, "embedding", "scores"])
def test_a_set_comes_back_with_the_same_bytes(tiny_loaded: LoadedModel, tmp_path: Path, kind: str | None):
    made = profile_set(tiny_loaded, kind)
    for name in ("a", "b"):
        made.save_pretrained(tmp_path / name)
    again = ProfileSet.from_pretrained(tmp_path / "a")
    assert replace(again.description, tensors="") == made.description
    assert torch.equal(again.thresholds, made.thresholds) and torch.equal(again.sketch, made.sketch)
    if kind is None:
        assert again.router is None
    else:
        assert torch.equal(again.router.weight, made.router.weight)
        assert torch.equal(again.router.bias, made.router.bias)
    again.save_pretrained(tmp_path / "c")
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {"README.md", "profile_set.json", "profiles.safetensors"}
    for other in ("b", "c"):
        assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / other / name).read_bytes() for name in files)


def test_an_installed_set_that_was_loaded_generates_as_before(tiny_loaded: LoadedModel, tmp_path: Path):
    made = profile_set(tiny_loaded)
    made.save_pretrained(tmp_path / "set")
    tokens = []
    for each in (made, ProfileSet.from_pretrained(tmp_path / "set")):
        with sparsify_(tiny_loaded.model, each, sparsity=0.5):
            tokens.append(tiny_loaded.model.generate(IDS, max_new_tokens=6, do_sample=False))
    assert torch.equal(*tokens)


def _learned(loaded: LoadedModel, seed: int = 0) -> ProfileSet:
    made, draw = profile_set(loaded), torch.Generator().manual_seed(seed)
    weights = {(p.block, p.name): torch.rand(p.in_features, generator=draw) for p in projections(loaded.model)}
    return replace(made, description=replace(made.description, criterion="learned"), weights=weights)


def test_learned_weights_are_saved_decide_what_is_masked_and_leave_the_model(tiny_loaded: LoadedModel, tmp_path: Path):
    made = _learned(tiny_loaded)
    made.save_pretrained(tmp_path / "set")
    again = ProfileSet.from_pretrained(tmp_path / "set")
    assert again.weights is not None and again.weights.keys() == made.weights.keys()
    assert all(torch.equal(weights, made.weights[key]) for key, weights in again.weights.items())
    logits = {}
    for name, each in (("made", made), ("again", again), ("other", _learned(tiny_loaded, seed=1))):
        with sparsify_(tiny_loaded.model, each, sparsity=0.5), torch.inference_mode():
            tokens = tiny_loaded.model.generate(
                IDS, max_new_tokens=6, do_sample=False, output_logits=True, return_dict_in_generate=True
            )
        logits[name] = torch.stack(tokens.logits)
    assert torch.equal(logits["made"], logits["again"]) and not torch.equal(logits["made"], logits["other"])
    assert not any(dict(p.module.named_buffers()) for p in projections(tiny_loaded.model))


def test_learned_weights_that_are_missing_or_not_used_are_refused(tiny_loaded: LoadedModel, tmp_path: Path):
    made = _learned(tiny_loaded)
    short = {key: weights for key, weights in made.weights.items() if key != (1, "o")}
    for wrong, message in (
        ({"weights": None}, "must be there exactly where `learned` scores features"),
        ({"description": profile_set(tiny_loaded).description}, "must be there exactly where `learned`"),
        ({"weights": short}, "feature weights of block 1, o are missing"),
        ({"weights": made.weights | {(0, "q"): torch.ones(3)}}, r"block 0, q must be \[32\] in float32, got \[3\]"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(made, **wrong)


def test_tensors_that_do_not_fit_their_description_are_refused(tiny_loaded: LoadedModel, tmp_path: Path):
    made = profile_set(tiny_loaded)
    for wrong, message in (
        ({"thresholds": made.thresholds[:1]}, r"thresholds must be \[2, 2, 2, 7\] in float32, got \[1, 2, 2, 7\]"),
        ({"thresholds": made.thresholds.double()}, r"got \[2, 2, 2, 7\] in torch\.float64"),
        ({"thresholds": made.thresholds * torch.nan}, "thresholds must be numbers that are not negative"),
        ({"sketch": made.sketch[:, :3]}, r"sketch must be \[2, 7\]"),
        ({"router": None}, "a router must come with its facts"),
        ({"router": None, "description": description(tiny_loaded, 2, None)}, "2 groups need a router"),
        ({"description": replace(made.description, mask="topk")}, "sparse decoding needs threshold masks, got topk"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(made, **wrong)
    routed, pooled = tmp_path / "routed", tmp_path / "pooled"
    made.save_pretrained(routed)
    profile_set(tiny_loaded, None).save_pretrained(pooled)
    pair = (pooled / DESCRIPTION).read_text().replace('"name": "group 0"', '"name": "another"')
    text = pair.replace('"groups": [', '"groups": [{"name": "a", "samples": 1},')
    (pooled / DESCRIPTION).write_text(text)
    with pytest.raises(UserError, match=r"must fit its description\. Found: thresholds must be \[2, 2, 2, 7\]"):
        ProfileSet.from_pretrained(pooled)
    text = (routed / DESCRIPTION).read_text().replace('"router": "embedding"', '"router": "oracle"')
    (routed / DESCRIPTION).write_text(text)
    with pytest.raises(UserError, match=r"one of benefit, embedding, neighbours, scores\. Found: 'oracle'"):
        ProfileSet.from_pretrained(routed)


def _rotated() -> LoadedModel:
    loaded = random_model("llama")
    for block in range(2):
        rotate_block(loaded, block, block_bases(loaded, block))
    return loaded


def test_a_rotated_model_and_a_set_for_one_belong_together():
    rotated, plain = _rotated(), random_model("llama")
    made = profile_set(rotated, transform="orthogonal")
    with sparsify_(rotated, made, sparsity=0.5):
        rotated.model.generate(IDS, max_new_tokens=3, do_sample=False)
    with pytest.raises(UserError, match=r"`transform: orthogonal`\. Found: a model that is not rotated.*rotate_model"):
        made.check(plain.model)
    with pytest.raises(UserError, match=r"`transform: none`\. Found: a rotated model"):
        profile_set(plain).check(rotated.model)
