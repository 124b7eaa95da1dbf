"""`wina_amp.models.integrity`, with `weight_files` and `advice`: a folder is what transformers would load, or refused
with what to do about this case."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.wina_amp.models.folders import (
    INDEX,
    POINTER,
    WEIGHTS,
    Change,
    copy_of,
    link,
    put,
    remove,
    rename,
    set_config,
    set_index,
    set_weights,
    shard,
)
from wina_amp.errors import UserError
from wina_amp.models.integrity import check_folder

UP = "model.layers.1.mlp.up_proj.weight"
NORM = "model.norm.weight"


GENERATION = "generation_config.json"


def _shard_twice(folder: Path) -> None:
    """A weight in both shards: transformers takes that of the file it reads last, whatever the index says."""
    shard(folder)
    for file in folder.glob("model-*"):
        save_file(load_file(file) | {NORM: torch.ones(32)}, file, metadata={"format": "pt"})


def _shard_beside(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    shard(folder)
    (folder / WEIGHTS).write_bytes(whole)


def _shard_elsewhere(folder: Path) -> None:
    """The index says that a weight is in the other shard."""
    shard(folder)
    listed = json.loads((folder / INDEX).read_text())["weight_map"]
    set_index(**{NORM: next(file for file in listed.values() if file != listed[NORM])})(folder)


def _pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def _folder(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def _case(name: str, pattern: str, *changes: Change) -> object:
    return pytest.param(changes, pattern, id=name)


REFUSED = [
    _case(
        "a single file and shards", r"weights once.*names model-00001.*remove those that are not wanted", _shard_beside
    ),
    _case(
        "an index into a folder above",
        r"of its own.*'\.\./x\.safetensors'",
        shard,
        set_index(**{NORM: "../x.safetensors"}),
    ),
    _case(
        "an index into an absolute path", r"of its own.*'/x\.safetensors'", shard, set_index(**{NORM: "/x.safetensors"})
    ),
    _case(
        "an index into a folder below", r"of its own.*'a/x\.safetensors'", shard, set_index(**{NORM: "a/x.safetensors"})
    ),
    _case(
        "an index into the layout of Mistral",
        r"usual names.*'consolidated\.safetensors'",
        shard,
        set_index(**{NORM: "consolidated.safetensors"}),
    ),
    _case("an index of pickles", r"of its own.*'x\.bin'", shard, set_index(**{NORM: "x.bin"})),
    _case("an index of a missing file", r"no x\.safetensors", shard, set_index(**{NORM: "x.safetensors"})),
    _case("an index that is no JSON", r"undamaged model\.safetensors\.index", shard, put(INDEX, "{")),
    _case("an index without weights", r"undamaged model\.safetensors\.index", shard, put(INDEX, "[]")),
    _case("an index of numbers", r"undamaged model\.safetensors\.index", shard, put(INDEX, '{"weight_map": {"a": 1}}')),
    _case("an index that is empty", r"undamaged.*an empty model\.safetensors\.index", shard, put(INDEX)),
    _case("an index that is a link to nothing", r"undamaged.*only a link to gone", shard, link(INDEX, "gone")),
    _case("an index that Git LFS keeps", r"undamaged.*Git LFS pointer.*git lfs pull", shard, put(INDEX, POINTER)),
    _case("a weight in another shard", rf"says are in model-0000.*1 that are not, .*{NORM}", _shard_elsewhere),
    _case("a weight in two shards", r"every weight in one file.*model-00001.*and in model-00002", _shard_twice),
    _case(
        "shards without an index", r"no model\.safetensors.*add model\.safetensors\.index\.json", shard, remove(INDEX)
    ),
    _case(
        "a file name in config.json",
        r"usual names.*transformers_weights: x",
        set_config(transformers_weights="x.safetensors"),
    ),
    _case(
        "int8 without a quantisation config",
        r"not quantised.*up_proj\.weight of I8.*quantised from",
        set_weights(**{UP: torch.ones(48, 32, dtype=torch.int8)}),
    ),
    _case(
        "uint8 without a quantisation config",
        r"not quantised.*of U8",
        set_weights(**{UP: torch.ones(48, 32, dtype=torch.uint8)}),
    ),
    _case(
        "int32 without a quantisation config",
        r"not quantised.*qweight of I32",
        set_weights(**{"model.layers.0.mlp.up_proj.qweight": torch.ones(4, 4, dtype=torch.int32)}),
    ),
    _case(
        "fp8 without a quantisation config",
        r"not quantised.*of F8_E4M3.*bfloat16",
        set_weights(**{UP: torch.ones(48, 32).to(torch.float8_e4m3fn)}),
    ),
    _case(
        "an fp8 quantisation config",
        r"not quantised.*`quantization_config` of fp8.*in bfloat16",
        set_config(quantization_config={"quant_method": "fp8"}),
    ),
    _case("a quantisation config of MLX", r"not quantised.*`quantization` in", set_config(quantization={"bits": 4})),
    _case("weights cut off", r"undamaged model\.safetensors", lambda folder: os.truncate(folder / WEIGHTS, 5000)),
    _case(
        "weights cut off in the header",
        r"undamaged model\.safetensors",
        lambda folder: os.truncate(folder / WEIGHTS, 100),
    ),
    _case(
        "weights with bytes behind the end",
        r"undamaged model\.safetensors",
        lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes() + b"more"),
    ),
    _case("weights of zeros", r"undamaged model\.safetensors", put(WEIGHTS, b"\0" * 500)),
    _case("no weights", r"its safetensors weights.*no model\.safetensors", remove(WEIGHTS)),
    _case("weights that are empty", r"undamaged.*an empty model\.safetensors", put(WEIGHTS)),
    _case(
        "weights that Git LFS keeps",
        r"Git LFS pointer in the place of model\.safetensors.*git lfs pull",
        put(WEIGHTS, POINTER),
    ),
    _case(
        "weights that are a link to nothing",
        r"no model\.safetensors, only a link to gone.*restore the folder",
        link(WEIGHTS, "gone"),
    ),
    _case("weights that are a pipe", r"no file model\.safetensors, but a pipe", _pipe(WEIGHTS)),
    _case("weights that are a folder", r"no file model\.safetensors, but a folder", _folder(WEIGHTS)),
    _case("GGUF only", r"only model\.gguf.*that the GGUF file was made from", rename(WEIGHTS, "model.gguf")),
    _case(
        "GGUF and nothing else",
        r"no config\.json.*that the GGUF file was made from",
        rename(WEIGHTS, "model.gguf"),
        remove("config.json"),
    ),
    _case("pickles only", r"only pickles.*convert them", rename(WEIGHTS, "pytorch_model.bin")),
    _case(
        "the layout of Meta",
        r"no config\.json.*in the layout of transformers",
        remove("config.json"),
        put("params.json", "{}"),
    ),
    _case(
        "the layout of Mistral",
        r"no model\.safetensors.*in the layout of transformers",
        rename(WEIGHTS, "consolidated.safetensors"),
    ),
    _case("an adapter", r"a whole model.*an adapter.*merge", put("adapter_config.json", "{}"), remove("config.json")),
    _case("an adapter beside a model", r"a whole model.*merged already, remove", put("adapter_config.json", "{}")),
    _case("no config.json", r"no config\.json.*restore the folder.*`model\.path`", remove("config.json")),
    _case(
        "the checkpoint in a folder below",
        r"set `model\.path` to .*inner, which has",
        lambda folder: _below(folder, "inner"),
    ),
    _case(
        "a repository of the hub's cache",
        r"set `model\.path` to .*snapshots/abc, which has",
        lambda folder: _below(folder, "snapshots/abc"),
    ),
    _case(
        "config.json that is no JSON", r"`model_type`.*JSONDecodeError", put("config.json", "{'model_type': 'llama'}")
    ),
    _case("config.json that is a list", r"`model_type`", put("config.json", '["model_type"]')),
    _case("config.json that is a text", r"`model_type`", put("config.json", '"model_type"')),
    _case("config.json without model_type", r"`model_type`", put("config.json", "{}")),
    _case("model_type that is null", r"`model_type`", set_config(model_type=None)),
    _case("config.json that is empty", r"an empty config\.json", put("config.json")),
    _case(
        "config.json in UTF-16",
        r"`model_type`.*UnicodeDecodeError",
        put("config.json", '{"model_type": "llama"}'.encode("utf-16")),
    ),
    _case("config.json that Git LFS keeps", r"Git LFS pointer.*git lfs pull", put("config.json", POINTER)),
    _case(
        "config.json that is a link to nothing", r"no config\.json, only a link to gone", link("config.json", "gone")
    ),
    _case("config.json nested without end", r"`model_type`", put("config.json", "[" * 100_000)),
    _case("generation_config.json that is no JSON", r"undamaged generation_config", put("generation_config.json", "{")),
    _case(
        "generation_config.json that is a list",
        r"undamaged generation_config.*list",
        put("generation_config.json", "[]"),
    ),
    _case(
        "generation_config.json that is a link to nothing",
        r"only a link to gone",
        link("generation_config.json", "gone"),
    ),
    _case("an end that is a text", r"by their numbers.*`eos_token_id: x`", put(GENERATION, '{"eos_token_id": "x"}')),
    _case("ends in a list of lists", r"by their numbers.*\[\[2\]\]", put(GENERATION, '{"eos_token_id": [[2]]}')),
    _case("experts", r"must be dense.*mixtral.*config\.json", set_config(model_type="mixtral", num_local_experts=8)),
    _case("a family without a row", r"'gpt2'", set_config(model_type="gpt2")),
]


def _below(folder: Path, name: str) -> None:
    (folder / name).mkdir(parents=True)
    for file in list(folder.glob("*.*")):
        file.rename(folder / name / file.name)


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize(("changes", "pattern"), REFUSED)
def test_a_folder_that_would_not_load_as_what_it_says_is_refused_with_advice_for_its_case(
    tiny_llama: Path, tmp_path: Path, changes: tuple[Change, ...], pattern: str
):
    with pytest.raises(UserError, match=pattern):
        check_folder(copy_of(tiny_llama, tmp_path / "model", *changes))


def _stray_index(folder: Path) -> None:
    names = load_file(folder / WEIGHTS)
    put(INDEX, '{"weight_map": {' + ", ".join(f'"{name}": "{WEIGHTS}"' for name in names) + "}}")(folder)


def _behind_a_link(folder: Path) -> None:
    rename("config.json", "config")(folder)
    link("config.json", "config")(folder)


@pytest.mark.tried("checkpoint", "right")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(shard, id="shards"),
        pytest.param(_stray_index, id="an index of the single file"),
        pytest.param(put("consolidated.safetensors", b"other"), id="the weights once more in another layout"),
        pytest.param(put("pytorch_model.bin", b"other"), id="pickles beside safetensors"),
        pytest.param(put("model.gguf", b"other"), id="GGUF beside safetensors"),
        pytest.param(set_config(quantization_config=None), id="a quantisation config of null"),
        pytest.param(_behind_a_link, id="a config.json that is a link"),
    ],
)
def test_a_folder_that_passes_is_loaded_by_transformers_as_the_weights_that_were_saved(
    tiny_llama: Path, tmp_path: Path, change: Change
):
    folder = copy_of(tiny_llama, tmp_path / "model", change)
    check_folder(folder)
    held = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True).state_dict()
    assert all(torch.equal(held[name], weight) for name, weight in load_file(tiny_llama / WEIGHTS).items())
