"""How fast this machine is now, measured on one block of the model with random weights, in a few seconds.

What a token costs in a block is measured, not computed: on a small model norms, attention and memory traffic take as
long as the products. Products alone count where the search multiplies parts of a block, and for `lm_head`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

_WIDEST = 4096
_TOKENS = 1024
_VOCABULARY = 256
"""Rows of the embeddings in front of the block, which cost next to nothing."""

_MOST_READ = 2**26
"""Numbers of the largest matrix that is read: 256 MB in float32, more than caches hold."""

_SECONDS = 1.0
"""For each number, at least."""


@dataclass(frozen=True)
class Rates:
    """A machine, as busy as it is.

    Attributes:
        token: seconds of one token of a batch through one block.
        step: seconds of a single token through one block: what its operations cost, however small.
        flops: operations per second of a product of matrices.
        bandwidth: bytes of weights per second of a product of a vector and a matrix as large as the model, if that is
            not beyond every cache already.
        device: what was measured.
    """

    token: float
    step: float
    flops: float
    bandwidth: float
    device: str


def one_block(config: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    """The decoder that a config.json describes, with its first block only, few embeddings, and random weights."""
    from transformers import AutoConfig, AutoModel

    small = {"num_hidden_layers": 1, "vocab_size": _VOCABULARY, "pad_token_id": None}
    if config.get("layer_types"):
        small["layer_types"] = config["layer_types"][:1]
    arguments = {name: value for name, value in config.items() if name != "model_type"} | small
    of_block = AutoConfig.for_model(config["model_type"], **arguments)
    return cast(nn.Module, AutoModel.from_config(of_block, dtype=dtype)).eval()


def measure(decoder: nn.Module, hidden: int, inner: int, length: int, device: torch.device, parameters: int) -> Rates:
    """Measure a decoder from `one_block`, which is moved to the device, on sequences of `length` tokens, a matrix
    `[inner, hidden]` in its dtype, at most `_WIDEST`, and a larger one, of at most so many parameters."""
    rows = max(1, _TOKENS // length)
    ids = torch.randint(_VOCABULARY, (rows, length), device=device)
    decoder.to(device)
    weight = torch.randn(min(inner, _WIDEST), min(hidden, _WIDEST), device=device).to(next(decoder.parameters()).dtype)
    tokens = torch.randn(_TOKENS, weight.shape[1], device=device).to(weight.dtype)
    read = torch.ones(max(1, min(parameters, _MOST_READ) // weight.shape[1]), weight.shape[1], device=device)
    read = read.to(weight.dtype)
    with torch.inference_mode():
        batch = _seconds(lambda: decoder(input_ids=ids, use_cache=False), device)
        step = _seconds(lambda: decoder(input_ids=ids[:1, :1], use_cache=False), device)
        many = _seconds(lambda: nn.functional.linear(tokens, weight), device)
        single = _seconds(lambda: nn.functional.linear(tokens[:1], read), device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    return Rates(
        token=batch / ids.numel(),
        step=step,
        flops=2.0 * _TOKENS * weight.numel() / many,
        bandwidth=read.numel() * read.element_size() / single,
        device=name,
    )


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call: the median of those within `_SECONDS`, after one that does not count."""

    def once() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    once()
    end = time.perf_counter() + _SECONDS
    seconds = [once()]
    while time.perf_counter() < end:
        seconds.append(once())
    return statistics.median(seconds)
