"""`wina_amp.profile_set.card`: the card says what the description says, of every kind of set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from huggingface_hub import ModelCard

from tests.wina_amp.profile_set.sets import description
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.card import card
from wina_amp.routing.prompt_router import KINDS
from wina_amp.scoring.criteria import CRITERIA


def test_the_card_names_checkpoint_groups_router_and_figures(tiny_loaded: LoadedModel):
    text = card(description(tiny_loaded, 2, "embedding"))
    assert "# Profile set `made_up`" in text and f"`{'0' * 64}`" in text
    assert "llama, 2 blocks" in text and "down 32x48" in text
    assert "group 0 (10 samples), group 1 (11 samples)" in text
    assert "router: `embedding`, a linear layer on the mean of the prompt's token embeddings" in text
    assert "| 0.25 | 7 | 50.0 [25.0, 75.0] | 50.0 [25.0, 75.0] | 50.0 [25.0, 75.0] | 50.0 [25.0, 75.0] |" in text
    assert "| 0.5 | 7 | - | - | 50.0 [25.0, 75.0] | 50.0 [25.0, 75.0] |" in text
    assert "sparsity=0.5" in text


def test_the_hub_can_read_model_tags_and_results(tiny_loaded: LoadedModel, tmp_path: Path):
    plain = description(tiny_loaded, 2, "embedding")
    (tmp_path / "README.md").write_text(card(replace(plain, model=replace(plain.model, repository="meta/llama"))))
    data = ModelCard.load(tmp_path / "README.md").data
    assert (data.library_name, data.base_model) == ("wina-amp", "meta/llama")
    assert data.tags == ["activation-sparsity", "wina", "llama"] and data.datasets == list(plain.calibration)
    [result] = data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 50.0) and result.metric_name.endswith("0.25")
    (tmp_path / "README.md").write_text(card(replace(plain, measured=(None, None))))
    bare = ModelCard.load(tmp_path / "README.md").data
    assert bare.base_model is None and bare.eval_results is None


def test_one_group_has_no_router_and_a_set_without_measurements_says_so(tiny_loaded: LoadedModel):
    text = card(replace(description(tiny_loaded, 1, None), measured=(None, None)))
    assert "router:" not in text and "The router" not in text
    assert "Not evaluated." in text


def test_a_rotated_model_and_a_hub_checkpoint_are_named(tiny_loaded: LoadedModel):
    rotated = description(tiny_loaded, 1, None, transform="orthogonal")
    text = card(replace(rotated, model=replace(rotated.model, repository="meta/llama", commit="abc")))
    assert "meta/llama at commit abc" in text
    assert "`transform: orthogonal`, with the bases in `rotations/`" in text and "rotate_model(loaded" in text


def test_every_criterion_and_router_that_can_be_exported_is_described(tiny_loaded: LoadedModel):
    exported = description(tiny_loaded, 2, "embedding")
    for criterion in (name for name, row in CRITERIA.items() if row.reads == "input"):
        text = card(replace(exported, criterion=criterion))
        assert f"criterion: `{criterion}`, " in text and f"`, {criterion}\n" not in text
    for kind in KINDS:
        text = card(replace(exported, router={"router": kind}))
        assert f"router: `{kind}`, " in text and f"linear layer on {kind};" not in text
