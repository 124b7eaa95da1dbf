"""`pipeline.estimate.rates`: figures of this machine, taken on one block in a few seconds, for every family."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

from pipeline.estimate.rates import measure, one_block

CPU = torch.device("cpu")
REFERENCE = Path(__file__).resolve().parents[3] / "data" / "reference" / "model" / "config.json"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_are_measured_in_seconds_and_a_token_of_a_batch_is_cheaper_than_one_alone(dtype: torch.dtype):
    began = time.perf_counter()
    rates = measure(one_block(json.loads(REFERENCE.read_text()), dtype), 192, 512, 64, CPU, parameters=2_000_000)
    assert time.perf_counter() - began < 20
    assert rates.flops > 1e6 and rates.bandwidth > 1e6 and 0 < rates.token < rates.step < 1
    assert rates.device.startswith("CPU")


@pytest.mark.parametrize(
    "more",
    [{"model_type": "llama"}, {"model_type": "gemma3_text", "layer_types": ["sliding_attention", "full_attention"]}],
)
def test_a_decoder_of_one_block_is_made_of_the_config_of_many(more: dict[str, object]):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    decoder = one_block({**sizes, "head_dim": 8, "num_hidden_layers": 2, "vocab_size": 100_000, **more}, torch.float32)
    assert sum(weights.numel() for weights in decoder.parameters()) < 32 * (256 + 4 * 32 + 3 * 64 + 10)
