"""`wina_amp.models.load`: what is loaded is what was saved, and unknown options and bad tokenizers are refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file
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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_auto_is_the_cpu(tiny_llama):
    assert load(tiny_llama, **CPU | {"device": "auto"}).device.type == "cpu"


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


def test_a_missing_or_damaged_tokenizer_is_refused(folder):
    (folder / "tokenizer.json").write_text("{")
    _refuses(folder, r"tokenizer of the model must be readable")
    (folder / "tokenizer.json").unlink()
    _refuses(folder, r"have a tokenizer.*none of tokenizer\.json")


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
