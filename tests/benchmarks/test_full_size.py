"""`benchmarks.full_size` runs from end to end, on a small shape."""

from __future__ import annotations

import re

import pytest
from transformers import LlamaConfig, Phi3Config

from benchmarks import full_size

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
}


@pytest.mark.parametrize("config", [LlamaConfig, Phi3Config])
def test_every_figure_is_printed(config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(full_size, "SHAPES", {"small": lambda: config(**SMALL)})
    monkeypatch.setattr(full_size, "LENGTHS", (30, 60))
    options = "--shape small --blocks 2 --samples 6 --batch 128 --repeats 2 --greedy-blocks 2 --greedy-tokens 20"
    monkeypatch.setattr("sys.argv", ["full_size", *options.split()])
    full_size.main()
    printed = capsys.readouterr().out
    assert "small, 2 of 4 blocks, bfloat16 on cpu" in printed
    for pattern in (
        r"plain forward: \d+ tokens/s",
        r"capture: \d+ tokens/s",
        r"capture / plain, .*: \d+\.\d\d; .*host memory \d+\.\d GB",
        r"capture, once: -?\d+\.\d s; scores counted the way `compiled`",
        r"histograms: \d+\.\d kB per sample, \d+ kB for 4 blocks",
        r"signatures: \d+\.\d kB per sample, \d+ kB for 4 blocks",
        r"aggregate: \d+\.\d\d s",
        r"greedy, block 0: .* with the block inputs of the whole model; \d+ rounds, error \d\.\d+ at 0\.65",
        r"greedy, block 1: \d+\.\d s; \d+ rounds",
    ):
        assert re.search(pattern, printed), pattern


def test_the_shapes_are_those_of_the_models_they_are_named_after() -> None:
    """Parameters of the published models, in billions: 8.03, 7.62, 14.66."""
    sizes = {name: round(_parameters(make()) / 1e9, 2) for name, make in full_size.SHAPES.items()}
    assert sizes == {"llama-3-8b": 8.03, "qwen2.5-7b": 7.62, "phi-4": 14.66}


def _parameters(config) -> int:
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(config).parameters())
