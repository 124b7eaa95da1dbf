"""`wina_amp.cli.import_gguf`: the logits of transformers' dequantised model, and nothing of the file left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from tests.wina_amp.cli.gguf_files import CONFIGS, PIECES, TOKENS, model, write
from wina_amp.cli.import_gguf import PRE_TOKENIZERS, import_gguf
from wina_amp.errors import UserError
from wina_amp.models.load import load

IDS = torch.randint(4, 200, (2, 12), generator=torch.Generator().manual_seed(1))
CHAT = [{"role": "user", "content": "the ab"}]


def _logits(made: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return made(input_ids=IDS).logits


@pytest.mark.parametrize("quantise", [pytest.param(False, id="float32"), pytest.param(True, id="Q8_0")])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_an_imported_file_is_the_model_that_transformers_dequantises(architecture: str, quantise: bool, tmp_path: Path):
    made = model(architecture)
    file = write(tmp_path / "a.gguf", architecture, made, quantise=quantise)
    facts = import_gguf(file, tmp_path / "model")
    loaded = load(tmp_path / "model", revision=None, dtype="float32", device="cpu")
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32)
    assert torch.equal(_logits(loaded.model), _logits(reference))
    assert torch.allclose(_logits(loaded.model), _logits(made), atol=1e-3) or quantise
    tied = made.config.tie_word_embeddings
    assert facts["lm_head"] == ("tied" if tied else "separate") and facts["family"] == made.config.model_type
    assert loaded.model.config.tie_word_embeddings == tied
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert "quantization_config" not in config and config["dtype"] == "float32"


@pytest.mark.parametrize("architecture", ["llama", "phi3", "gemma3"])
def test_the_tokenizer_and_the_chat_template_come_along(architecture: str, tmp_path: Path):
    import_gguf(write(tmp_path / "a.gguf", architecture, model(architecture)), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    reference = AutoTokenizer.from_pretrained(tmp_path, gguf_file="a.gguf")
    tokens = TOKENS if architecture == "llama" else PIECES
    assert tokenizer.convert_tokens_to_ids(tokens) == list(range(len(tokens)))
    assert tokenizer.get_vocab() == reference.get_vocab()
    assert tokenizer("the ab", add_special_tokens=False) == reference("the ab", add_special_tokens=False)
    assert tokenizer.apply_chat_template(CHAT, tokenize=False) == "the ab<turn>"
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == ("<bos>", "<eos>", "<pad>")
    assert tokenizer("ab")["input_ids"][0] == tokenizer.bos_token_id


def test_metadata_that_says_nothing_new_is_passed_over(tmp_path: Path):
    said = {"gemma3.rope.freq_base_swa": 1e4, "gemma3.expert_count": 0, "gemma3.rope.scaling.type": "none"}
    import_gguf(write(tmp_path / "a.gguf", "gemma3", model("gemma3"), metadata=said), tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").is_file()


def test_an_answer_ends_at_the_end_of_a_turn_too(tmp_path: Path):
    file = write(tmp_path / "a.gguf", "llama", model("llama"), metadata={"tokenizer.ggml.eot_token_id": 2})
    import_gguf(file, tmp_path / "model")
    made = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert made.generation_config.eos_token_id == [1, 2] and made.generation_config.bos_token_id == 0
    assert made.config.eos_token_id == 1 and made.config.pad_token_id == 3


def _case(name: str, message: str, *, architecture: str = "llama", **changes: Mapping[str, Any]) -> object:
    return pytest.param(message, architecture, changes, id=name)


PROPERTY = r"Every property of the model must be one that transformers reads"
TENSOR = r"Every tensor of the file must be one that transformers reads from a GGUF file\. Found: "


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize(
    ("message", "architecture", "changes"),
    [
        _case("another architecture", r"one of gemma3, llama.*'gpt2'", metadata={"general.architecture": "gpt2"}),
        _case("experts", PROPERTY + r".*llama\.expert_count: 4", metadata={"llama.expert_count": 4}),
        _case("scaled embeddings", PROPERTY + r".*scaling\.type: linear",
              metadata={"llama.rope.scaling.type": "linear"}),
        _case("Llama 3.1's frequencies", TENSOR + r"rope_freqs", tensors={"rope_freqs.weight": torch.ones(4)}),
        _case("biases of attention", TENSOR + r"blk\.0\.attn_q\.bias", tensors={"blk.0.attn_q.bias": torch.ones(32)}),
        _case("a block too many", TENSOR + r"blk\.2\.", tensors={"blk.2.attn_norm.weight": torch.ones(32)}),
        _case("a weight too few", r"Every weight of the model must be in the file.*q_proj",
              tensors={"blk.0.attn_q.weight": None}),
        _case("heads of another width", PROPERTY + r".*key_length: 16`, read as 8",
              metadata={"llama.attention.key_length": 16}),
        _case("a sliding window", PROPERTY + r".*sliding_window: 8`, read as None",
              metadata={"llama.attention.sliding_window": 8}),
        _case("a sliding window unsaid", PROPERTY + r".*sliding_window: None`, read as 4096",
              architecture="gemma3", metadata={"gemma3.attention.sliding_window": None}),
        _case("heads of a width that is not read", r"not so for model\.layers\.0\.self_attn\.k_norm",
              architecture="qwen3", metadata={"qwen3.attention.key_length": 64},
              tensors={"blk.0.attn_q_norm.weight": torch.ones(64), "blk.0.attn_k_norm.weight": torch.ones(64)}),
        _case("other embeddings in windows", PROPERTY + r".*freq_base_swa: 20000\.0`, read as 10000",
              architecture="gemma3", metadata={"gemma3.rope.freq_base_swa": 20000.0}),
        _case("no number of blocks", r"must describe its model\. Found: no block_count",
              metadata={"llama.block_count": None}),
        _case("an adapter", r"must hold a whole model\. Found: `general\.type: adapter`",
              metadata={"general.type": "adapter"}),
        _case("a part of several", r"one of 3 parts.*llama-gguf-split", metadata={"split.count": 3}),
        _case("text split in another way", r"way to split text .*'smollm'", metadata={"tokenizer.ggml.pre": "smollm"}),
        _case("text split in an unknown way", r"way to split text .*None", metadata={"tokenizer.ggml.pre": None}),
        _case("an encoder", PROPERTY + r".*causal: False`, read as True", metadata={"llama.attention.causal": False}),
        _case("prompts without a space in front", r"must put a space in front of a prompt",
              architecture="phi3", metadata={"tokenizer.ggml.add_space_prefix": False}),
        _case("another tokenizer", r"one of gpt2, llama.*'bert'", metadata={"tokenizer.ggml.model": "bert"}),
        _case("no tokenizer", r"one of gpt2, llama.*None", metadata={"tokenizer.ggml.model": None}),
        _case("merges of unknown tokens", r"tokenizer .* must be one that transformers can build",
              metadata={"tokenizer.ggml.merges": ["t h", "h h"]}),
    ],
)  # fmt: skip
def test_a_gguf_file_that_would_become_another_model_is_refused(
    message: str, architecture: str, changes: Mapping[str, Mapping[str, Any]], tmp_path: Path
):
    file = write(tmp_path / "a.gguf", architecture, model(architecture), **changes)
    with pytest.raises(UserError, match=message):
        import_gguf(file, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


@pytest.mark.tried("checkpoint", "refused")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no file"),
        pytest.param(b"", id="an empty file"),
        pytest.param(b"safetensors, not GGUF" * 10, id="another format"),
        pytest.param(b"GGUF\x03\x00\x00\x00" + b"\xff" * 64, id="damaged metadata"),
    ],
)
def test_what_is_no_gguf_file_is_refused(content: bytes | None, tmp_path: Path):
    if content is not None:
        (tmp_path / "a.gguf").write_bytes(content)
    with pytest.raises(UserError, match=r"must be a whole GGUF file\. Found: \w+"):
        import_gguf(tmp_path / "a.gguf", tmp_path / "model")


@pytest.mark.tried("checkpoint", "refused")
def test_a_gguf_file_that_is_cut_off_is_refused(tmp_path: Path):
    file = write(tmp_path / "a.gguf", "llama", model("llama"))
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"must be a whole GGUF file"):
        import_gguf(file, tmp_path / "model")


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path):
    with pytest.raises(UserError, match=r"must be new or empty"):
        import_gguf(tmp_path / "a.gguf", tmp_path.parent)


def test_known_ways_to_split_text_are_those_that_the_reader_builds():
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    assert set(PRE_TOKENIZERS) - {"gpt-2"} <= set(GGUF_PRE_TOKENIZER_SPLITS)
