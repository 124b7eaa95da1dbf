"""`wina_amp.calibrate`: a set that fits its model, meets its target and leaves the model as it was. That it equals the
study's is proven by tests/stages/test_calibration_parity.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.calibration.calibrate import calibrate
from wina_amp.calibration.settings import CalibrationSettings
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.rotation import rotate_input
from wina_amp.profile_set.profile_set import ProfileSet
from wina_amp.profile_set.sparsity import sparsify_

QUICK = CalibrationSettings(greedy_step=0.5, greedy_tokens=40, kl_steps=2, kl_tokens=200)
RNG = np.random.default_rng(0)
TEXTS = [" ".join(f"w{word}" for word in RNG.integers(30 * (i % 2), 30 + 30 * (i % 2), 16)) for i in range(12)]


def made(loaded: LoadedModel, **changes: object) -> ProfileSet:
    options = {"progress": False, "settings": QUICK, "sparsity": (0.5, 0.25)}
    return calibrate(loaded.model, loaded.tokenizer, TEXTS, **options | changes)  # pyright: ignore


@pytest.mark.parametrize("allocation", ["uniform", "greedy", "kl"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_set_is_saved_loaded_and_runs_sparse_on_its_model(
    allocation: str, groups: int, tiny_loaded: LoadedModel, tmp_path: Path
) -> None:
    made(tiny_loaded, allocation=allocation, groups=groups).save_pretrained(tmp_path / "set")
    profiles = ProfileSet.from_pretrained(tmp_path / "set")
    description = profiles.description
    assert description.targets == (0.25, 0.5) and sum(group.samples for group in description.groups) == len(TEXTS)
    assert bool((profiles.thresholds[1] >= profiles.thresholds[0]).all()) or allocation != "uniform"
    ids = tiny_loaded.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    with sparsify_(tiny_loaded, profiles, sparsity=0.5, measure=True) as sparse:
        tiny_loaded.model(input_ids=ids)
        assert sparse.realised_sparsity == pytest.approx(0.5, abs=0.15)  # of one text of twelve
    assert description.model.digest is None and "a model in memory" in (tmp_path / "set" / "README.md").read_text()


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_can_be_calibrated(family: str, tiny_loaded: LoadedModel) -> None:
    model = random_model(family).model
    profiles = calibrate(
        model, tiny_loaded.tokenizer, TEXTS, allocation="greedy", sparsity=0.5, progress=False, settings=QUICK
    )
    profiles.check(model)
    assert profiles.description.model.family == family


def test_a_router_sends_texts_to_the_group_that_they_are_clustered_in(tiny_loaded: LoadedModel) -> None:
    profiles = made(tiny_loaded, allocation="uniform", groups=2)
    with sparsify_(tiny_loaded, profiles, sparsity=0.5) as sparse:
        groups = []
        for text in TEXTS:
            tiny_loaded.model(input_ids=tiny_loaded.tokenizer(text, return_tensors="pt")["input_ids"])
            assert sparse.groups is not None
            groups.append(int(sparse.groups[0]))
    assert np.bincount(groups).tolist() == [group.samples for group in profiles.description.groups]


def test_the_model_is_what_it_was_and_equal_arguments_give_equal_sets(tiny_loaded: LoadedModel) -> None:
    ids = tiny_loaded.tokenizer(TEXTS[0], return_tensors="pt")["input_ids"]
    hooks = [dict(module._forward_pre_hooks) | dict(module._forward_hooks) for module in tiny_loaded.model.modules()]
    with torch.inference_mode():
        before = tiny_loaded.model(input_ids=ids).logits
        first, second = (made(tiny_loaded, groups=2) for _ in range(2))
        assert torch.equal(tiny_loaded.model(input_ids=ids).logits, before)
    after = [dict(module._forward_pre_hooks) | dict(module._forward_hooks) for module in tiny_loaded.model.modules()]
    assert after == hooks
    assert torch.equal(first.thresholds, second.thresholds) and first.description == second.description


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"sparsity": 50}, "`sparsity` must be fractions.*Found: 50", id="per cent"),
        pytest.param({"sparsity": (0.5, 1)}, "`sparsity` must be fractions", id="nothing is left"),
        pytest.param({"sparsity": ()}, "`sparsity` must be fractions", id="no target"),
        pytest.param({"criterion": "wine"}, "did you mean 'wina'", id="a misspelt criterion"),
        pytest.param({"criterion": "learned"}, "must be one of teal, wina", id="weights that are not learned"),
        pytest.param({"allocation": "pooled"}, "must be one of greedy, kl, uniform", id="an allocation of the study"),
        pytest.param({"allocation": "greed"}, "did you mean 'greedy'", id="a misspelt allocation"),
        pytest.param({"groups": 13}, "`groups` must be a number from 1 to 12", id="more groups than samples"),
        pytest.param({"samples": 0}, "`samples` must be at least 1", id="no samples"),
        pytest.param({"length": 1}, "`length` must be at least 2", id="no room for an answer"),
        pytest.param({"dense_prefix": 1.5}, "`dense_prefix` must be a whole number", id="one and a half tokens"),
        pytest.param({"dense_prefix": -1}, "`dense_prefix` must be a whole number", id="less than no token"),
        pytest.param({"groups": 0}, "`groups` must be a number from 1 to 12", id="no group"),
    ],
)
def test_arguments_out_of_range_are_refused(changes: dict, message: str, tiny_loaded: LoadedModel) -> None:
    with pytest.raises(UserError, match=message):
        made(tiny_loaded, **changes)


def test_a_model_of_the_hub_is_named_by_repository_and_commit(tiny_loaded: LoadedModel) -> None:
    model = random_model("llama").model
    model.config.name_or_path, model.config._commit_hash = "owner/name", "0123abc"
    made = calibrate(model, tiny_loaded.tokenizer, TEXTS, allocation="uniform", progress=False)
    assert (made.description.model.repository, made.description.model.commit) == ("owner/name", "0123abc")


@pytest.mark.tried("errors", "refused")
def test_models_that_cannot_be_calibrated_are_refused(tiny_loaded: LoadedModel) -> None:
    small = random_model("llama")
    small.model.train()
    with pytest.raises(UserError, match="eval mode"):
        calibrate(small.model, tiny_loaded.tokenizer, TEXTS)
    small.model.eval()
    with (
        sparsify_(tiny_loaded, made(tiny_loaded, allocation="uniform"), sparsity=0.5),
        pytest.raises(UserError, match="one profile set on it at a time"),
    ):
        made(tiny_loaded)
    rotate_input(small.model.model.layers[0].mlp, torch.eye(32))
    with pytest.raises(UserError, match="must not be rotated"):
        calibrate(small.model, tiny_loaded.tokenizer, TEXTS)


@pytest.mark.tried("errors", "refused")
def test_another_models_tokenizer_is_refused(tiny_loaded: LoadedModel) -> None:
    model = random_model("llama").model
    model.resize_token_embeddings(20)
    with pytest.raises(UserError, match="one of 20 embeddings"):
        calibrate(model, tiny_loaded.tokenizer, TEXTS)


@pytest.mark.tried("errors", "refused")
def test_groups_without_scikit_learn_are_refused_and_one_group_needs_none(
    tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("wina_amp.calibration.arguments.find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"needs scikit-learn.*pip install \"wina-amp\[calibrate\]\""):
        made(tiny_loaded, groups=2)
    made(tiny_loaded, allocation="uniform")
    assert "sklearn" not in sys.modules


def test_progress_is_shown_on_standard_error_unless_told_otherwise(
    tiny_loaded: LoadedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tiny_loaded, progress=True)
    shown = capsys.readouterr()
    assert "thresholds" in shown.err and "greedy" in shown.err and not shown.out
    made(tiny_loaded, allocation="uniform")
    assert not capsys.readouterr().err
