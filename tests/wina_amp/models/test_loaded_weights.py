"""`wina_amp.models.loaded_weights`: the whole checkpoint is in the model, and nothing in the model is made up."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.wina_amp.models.folders import POINTER, WEIGHTS, Change, copy_of, put, set_config, set_weights
from wina_amp.errors import UserError
from wina_amp.models.load import load, load_tokenizer

UP = "model.layers.1.mlp.up_proj.weight"
CPU = {"revision": None, "dtype": "float32", "device": "cpu"}


def _spoilt(name: str, value: float) -> Change:
    def change(folder: Path) -> None:
        weight = load_file(folder / WEIGHTS)[name].clone()
        weight.flatten()[-1] = value
        set_weights(**{name: weight})(folder)

    return change


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize(
    ("change", "dtype", "pattern"),
    [
        pytest.param(
            set_config(num_hidden_layers=1),
            "float32",
            r"weights only.*9 .*no place for.*layers\.1\..*num_hidden_layers",
            id="num_hidden_layers smaller than the weights",
        ),
        pytest.param(
            set_config(num_hidden_layers=3), "float32", r"9 missing.*layers\.2\.", id="num_hidden_layers larger"
        ),
        pytest.param(
            set_weights(**{"model.layers.0.self_attn.q_proj.bias": torch.ones(32)}),
            "float32",
            r"1 that.*q_proj\.bias",
            id="a bias that the config does not know",
        ),
        pytest.param(
            set_config(num_hidden_layers="2"),
            "float32",
            r"readable config\.json.*num_hidden_layers.*int",
            id="text",
        ),
        pytest.param(
            set_weights(**{"score.weight": torch.ones(2, 32)}), "float32", r"score\.weight", id="another head"
        ),
        pytest.param(set_weights(**{UP: None}), "float32", rf"1 missing, for example {UP}", id="a missing weight"),
        pytest.param(
            set_weights(**{UP: torch.ones(47, 32)}), "float32", r"another shape.*up_proj.*47", id="a missing row"
        ),
        pytest.param(
            set_weights(**{UP: torch.ones(32, 48)}), "float32", r"another shape.*up_proj", id="a transposed weight"
        ),
        pytest.param(
            set_config(vocab_size=60), "float32", r"another shape", id="vocab_size smaller than the embeddings"
        ),
        pytest.param(_spoilt(UP, float("nan")), "float32", rf"finite.*{UP}", id="NaN in a projection"),
        pytest.param(_spoilt("lm_head.weight", float("inf")), "float32", r"finite.*lm_head", id="infinity in lm_head"),
        pytest.param(
            _spoilt("model.embed_tokens.weight", 1e6), "float16", r"float16.*bfloat16", id="too large for float16"
        ),
        pytest.param(
            put("tokenizer.json", POINTER),
            "float32",
            r"Git LFS pointer.*tokenizer\.json.*git lfs pull",
            id="a tokenizer that Git LFS keeps",
        ),
    ],
)
def test_a_model_that_is_not_exactly_the_checkpoint_is_refused(
    tiny_llama: Path, tmp_path: Path, change: Change, dtype: str, pattern: str
):
    with pytest.raises(UserError, match=pattern):
        load(copy_of(tiny_llama, tmp_path / "model", change), **CPU | {"dtype": dtype})


@pytest.mark.tried("checkpoint", "right")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            set_weights(**{"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}), id="rotary frequencies"
        ),
        pytest.param(_spoilt(UP, 3e38), id="a finite weight whose sum overflows"),
        pytest.param(lambda folder: None, id="as it is"),
    ],
)
def test_what_transformers_passes_over_for_a_reason_is_passed_over(tiny_llama: Path, tmp_path: Path, change: Change):
    folder = copy_of(tiny_llama, tmp_path / "model", change)
    held, saved = load(folder, **CPU).model.state_dict(), load_file(folder / WEIGHTS)
    assert all(torch.equal(weight, saved[name]) for name, weight in held.items())


@pytest.mark.tried("checkpoint", "right")
def test_a_tied_head_that_is_stored_as_well_is_the_embedding(tiny_llama: Path, tmp_path: Path):
    table = load_file(tiny_llama / WEIGHTS)["model.embed_tokens.weight"]
    changes = set_config(tie_word_embeddings=True), set_weights(**{"lm_head.weight": table.clone()})
    model = load(copy_of(tiny_llama, tmp_path / "model", *changes), **CPU).model
    assert model.lm_head.weight is model.model.embed_tokens.weight and torch.equal(model.lm_head.weight, table)


@pytest.mark.tried("checkpoint", "right")
def test_a_tokenizer_with_tokens_that_have_no_embedding_is_loaded_because_a_prompt_may_use_none(
    tiny_llama: Path, tmp_path: Path
):
    text = (tiny_llama / "tokenizer.json").read_text().replace('"w59": 63', '"w59": 99')
    assert load_tokenizer(copy_of(tiny_llama, tmp_path / "model", put("tokenizer.json", text)), revision=None)("w59")
