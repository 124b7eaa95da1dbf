"""`wina-amp generate` continues prompts with any model and profile set, dense and sparse."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import processors
from transformers import AutoTokenizer
from typer.testing import CliRunner

from tests.wina_amp.profile_set.sets import profile_set
from wina_amp.cli.app import app
from wina_amp.cli.generate import continuations
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.profile_set.sparsity import sparsify_

PROMPTS = ["w1 w2 w3 w4", "w9 w8"]
FAST = ("--backend", "reference")
"""Compiling another one would take seconds."""


@pytest.mark.parametrize("router", [None, "embedding", "scores"])
def test_every_prompt_is_continued_as_it_is_alone(
    tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path, router: str | None
):
    made = profile_set(tiny_loaded, router)
    made.save_pretrained(tmp_path)
    arguments = ["generate", str(tiny_llama), "--set", str(tmp_path), "--sparsity", "0.5", "--tokens", "4", *FAST]
    found = json.loads(CliRunner().invoke(app, [*arguments, "--json", *PROMPTS]).stdout)
    assert (found["set"], found["sparsity"]) == ("made_up", 0.5)
    assert [answer["prompt"] for answer in found["answers"]] == PROMPTS
    for answer in found["answers"]:
        ids = tiny_loaded.tokenizer(answer["prompt"], return_tensors="pt")["input_ids"]
        assert answer["dense"] == _continued(tiny_loaded, ids)
        with sparsify_(tiny_loaded, made, sparsity=0.5, backend="reference") as sparse:
            assert answer["sparse"] == _continued(tiny_loaded, ids)
            assert answer["group"] == made.description.groups[sparse.groups[0]].name


def _continued(loaded: LoadedModel, ids: torch.Tensor) -> str:
    tokens = loaded.model.generate(ids, max_new_tokens=4, do_sample=False)
    return loaded.tokenizer.decode(tokens[0, ids.shape[1] :], skip_special_tokens=True)


def test_a_table_shows_both(tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    profile_set(tiny_loaded).save_pretrained(tmp_path)
    result = CliRunner().invoke(app, ["generate", str(tiny_llama), "--set", str(tmp_path), *FAST, *PROMPTS])
    assert result.exit_code == 0
    assert all(text in result.stdout for text in ("Profile set made_up", "sparse 0.5", "group ", *PROMPTS))


@pytest.mark.tried("tokens", "right")
def test_a_tokenizer_without_padding_pads_with_any_token(tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path):
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"pad_token": None}))
    found = [
        continuations(str(folder), PROMPTS, str(tmp_path / "set"), sparsity=0.5, tokens=4, backend="reference")
        for folder in (tiny_llama, model)
    ]
    assert found[0] == found[1]


@pytest.mark.tried("errors", "refused")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param({"sparsity": 0.3}, r"must be one that the profile set has: 0\.25, 0\.5", id="unknown sparsity"),
        pytest.param({"dtype": "int8"}, r"The dtype must be one of", id="unknown dtype"),
        pytest.param({"backend": "cuda"}, r"The backend must be one of", id="unknown backend"),
        pytest.param({"prefill": "some"}, r"The prefill must be one of", id="unknown prefill"),
        pytest.param({"tokens": 126}, r"into the context of 128 tokens\. Found: 5 and 126", id="no room for an answer"),
        pytest.param({"model": "no/such/folder"}, r"existing folder or a hub id", id="no such model"),
    ],
)
def test_what_cannot_be_generated_is_refused(
    options: dict[str, object], message: str, tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path
):
    profile_set(tiny_loaded).save_pretrained(tmp_path)
    given = {"model": str(tiny_llama), "sparsity": 0.5, "tokens": 2} | options
    with pytest.raises(UserError, match=message):
        continuations(prompts=PROMPTS, path_or_repo=str(tmp_path), **given)


@pytest.mark.tried("tokens", "refused")
@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        pytest.param("", r"must have a token\. Found: ''", id="no token"),
        pytest.param("w1 <late>", r"one of 64 embeddings\. Found: 64 in", id="a token without an embedding"),
    ],
)
def test_a_prompt_that_the_model_cannot_read_is_refused(
    prompt: str, message: str, tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path
):
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.add_tokens(["<late>"])
    tokenizer.save_pretrained(model)
    with pytest.raises(UserError, match=message):
        continuations(str(model), ["w1", prompt], str(tmp_path / "set"), sparsity=0.5, tokens=2)


@pytest.mark.tried("tokens", "right")
def test_an_eos_that_the_tokenizer_puts_behind_prompts_is_left_out(
    tiny_llama: Path, tiny_loaded: LoadedModel, tmp_path: Path
):
    profile_set(tiny_loaded).save_pretrained(tmp_path / "set")
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    tokenizer = AutoTokenizer.from_pretrained(model)
    both = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=[("<bos>", 1), ("<eos>", 2)])
    tokenizer.backend_tokenizer.post_processor = both
    tokenizer.save_pretrained(model)
    assert AutoTokenizer.from_pretrained(model)("w1")["input_ids"][-1] == 2
    found = [
        continuations(str(folder), PROMPTS, str(tmp_path / "set"), sparsity=0.5, tokens=4, backend="reference")
        for folder in (tiny_llama, model)
    ]
    assert found[0] == found[1]


def test_a_folder_without_a_profile_set_is_refused(tiny_llama: Path, tmp_path: Path):
    with pytest.raises(UserError, match="A profile set must have all of its files"):
        continuations(str(tiny_llama), PROMPTS, str(tmp_path), sparsity=0.5, tokens=2)
