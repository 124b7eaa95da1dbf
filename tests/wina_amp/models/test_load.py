"""`wina_amp.models.load`: what is loaded is what was saved, and every kind of bad folder is refused with a remedy."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from wina_amp.errors import UserError
from wina_amp.models.load import load

CPU = {"revision": None, "dtype": "float32", "device": "cpu"}


@pytest.fixture
def folder(tiny_llama, tmp_path):
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_llama, tmp_path / "model")


def _refuses(path, pattern, **options):
    with pytest.raises(UserError, match=pattern) as caught:
        load(path, **CPU | options)
    assert "What to do:" in str(caught.value)


def test_a_folder_gives_the_model_that_was_saved_frozen_and_in_eval_mode(tiny_llama):
    loaded = load(tiny_llama, **CPU)
    saved = load_file(tiny_llama / "model.safetensors")
    held = loaded.model.state_dict()
    assert all(torch.equal(held[name], weight) for name, weight in saved.items())
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.family.model_type == "llama" and loaded.context == 128
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer("w0 w1").input_ids == [1, 4, 5]


def test_the_decoder_gives_hidden_states_without_the_head(tiny_loaded):
    ids = torch.tensor([[1, 5, 6]])
    with torch.inference_mode():
        hidden = tiny_loaded.decoder(input_ids=ids).last_hidden_state
        logits = tiny_loaded.model(input_ids=ids).logits
        assert torch.equal(tiny_loaded.model.lm_head(hidden), logits)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_keeps_the_rotary_frequencies_in_float32(tiny_llama, dtype):
    loaded = load(tiny_llama, **CPU | {"dtype": dtype})
    assert all(parameter.dtype == getattr(torch, dtype) for parameter in loaded.model.parameters())
    exact = LlamaForCausalLM(loaded.model.config).model.rotary_emb.inv_freq
    frequencies = loaded.model.model.rotary_emb.inv_freq
    assert frequencies.dtype == torch.float32
    assert torch.equal(frequencies, exact)
    with torch.inference_mode():
        assert loaded.model(input_ids=torch.tensor([[1, 5, 6]])).logits.isfinite().all()


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    _refuses(tmp_path / "nowhere", r"existing folder or a hub id.*nowhere.*dvc pull")


def test_a_hub_id_needs_a_revision():
    _refuses("organisation/model", r"together with `model\.revision`.*commit")


@pytest.mark.parametrize(
    ("missing", "pattern"),
    [
        ("config.json", r"have a config\.json.*no config\.json"),
        ("model.safetensors", r"have its safetensors weights.*no model\.safetensors"),
        ("tokenizer.json", r"have a tokenizer.*none of tokenizer\.json"),
    ],
)
def test_a_missing_file_is_named(folder, missing, pattern):
    (folder / missing).unlink()
    _refuses(folder, pattern)


def test_a_missing_shard_is_named(folder):
    index = {"weight_map": {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors").rename(folder / "model-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    _refuses(folder, r"no model-00002\.safetensors")


def test_a_weight_that_is_not_in_the_shard_of_the_index_is_named(folder):
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "model-00001.safetensors")
    save_file({"other": torch.zeros(1)}, folder / "model-00002.safetensors", metadata={"format": "pt"})
    index = {
        "weight_map": dict.fromkeys(names, "model-00001.safetensors") | {"lm_head.weight": "model-00002.safetensors"}
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    _refuses(folder, r"says are in model-00002\.safetensors.*1 that are not, for example lm_head\.weight")


def test_shards_give_the_same_model(folder, tiny_llama):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {name: f"model-{1 + number % 2:05d}.safetensors" for number, name in enumerate(weights)}
    for shard in set(index.values()):
        held = {name: weight for name, weight in weights.items() if index[name] == shard}
        save_file(held, folder / shard, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    held = load(folder, **CPU).model.state_dict()
    assert all(torch.equal(held[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("text", ["{", "[]", '{"weight_map": 1}'])
def test_a_damaged_index_is_refused(folder, text):
    (folder / "model.safetensors.index.json").write_text(text)
    _refuses(folder, r"have an undamaged model\.safetensors\.index\.json")


def test_weights_of_another_shape_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.ones(7)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _refuses(folder, r"weights of the model's shapes.*1 of another shape.*model\.norm\.weight.*7.*32.*git checkout")


def test_a_truncated_weight_file_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    _refuses(folder, r"undamaged model\.safetensors")


def test_a_weight_that_is_missing_is_named_instead_of_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    _refuses(folder, r"1 missing, for example model\.layers\.1\.mlp\.up_proj\.weight")


def test_pickles_are_not_read_and_that_is_said(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    _refuses(folder, r"no model\.safetensors, only pickles.*can run code")


def test_a_quantised_checkpoint_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "gptq"}}))
    _refuses(folder, r"not quantised.*quantization_config")


def test_a_mixture_of_experts_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mixtral", "num_local_experts": 8}))
    _refuses(folder, r"must be dense.*mixtral.*config\.json")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_damaged_json_file_is_refused(folder, name):
    (folder / name).write_text("{")
    _refuses(folder, r"config\.json with a `model_type`|tokenizer of the model must be readable")


def test_an_unknown_family_is_refused_before_anything_is_loaded(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))
    _refuses(folder, r"llama, mistral, olmo2, phi3.*'mamba'.*config\.json")


@pytest.mark.tried("errors", "refused")
def test_a_tokenizer_without_its_configuration_is_refused(folder):
    (folder / "tokenizer_config.json").unlink()
    _refuses(folder, r"must have a tokenizer_config\.json, which names its special tokens.*no such file.*copy it from")


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_is_not_taken_for_an_unreadable_model(folder, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fails)
    with pytest.raises(type(error)):
        load(folder, **CPU)


@pytest.mark.parametrize(("option", "value"), [("dtype", "fp16"), ("device", "gpu")])
def test_unknown_options_list_the_known_ones(tiny_llama, option, value):
    _refuses(tiny_llama, rf"The {option} must be one of .*'{value}'", **{option: value})


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize("value", ["", "four", "-1", "99"])
def test_a_gpu_that_the_environment_hides_is_missed_with_its_value(tiny_llama, monkeypatch, value):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    _refuses(tiny_llama, rf"needs a GPU.*CUDA_VISIBLE_DEVICES='{value}'", device="cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_without_a_gpu_is_refused_and_auto_falls_back(tiny_llama):
    _refuses(tiny_llama, r"needs a GPU.*device: auto", device="cuda")
    assert load(tiny_llama, **CPU | {"device": "auto"}).device.type == "cpu"
