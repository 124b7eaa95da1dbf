"""Time of a whole decode step: blocks of Llama-3-8B's shapes under `sparse_decoding`, beside the dense model.

    python -m benchmarks.decode_step

Random weights, float32 on the CPU, one token behind a context, transformers' own forward with a dynamic cache; the
vocabulary is small, so that the blocks are what is timed. Thresholds are quantiles of `wina` scores of random tokens,
the same sparsity for every projection. CPU time of one thread, which a busy machine blurs least: medians of the steps,
the dense model first and last.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaConfig

from benchmarks.random_models import random_model, thresholds
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.models.load import LoadedModel

CRITERION = "wina"
VOCABULARY, CONTEXT, CALIBRATION = 2048, 64, 128


def main() -> None:
    """Print milliseconds per token and the ratio to the dense model, sparsity by sparsity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--intermediate", type=int, default=14336)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.0, 0.4, 0.5, 0.65])
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = llama(options.blocks, options.hidden, options.intermediate)
    ids = torch.randint(3, VOCABULARY, (1, CONTEXT))
    limits = thresholds(loaded, CRITERION, options.sparsities, calibration())
    milliseconds(loaded, ids, 2)
    dense = milliseconds(loaded, ids, options.steps)
    print(f"{options.blocks} blocks, one thread, load {os.getloadavg()[0]:.1f}; dense {dense:.1f} ms a token")
    prompt = torch.zeros(1, CONTEXT, dtype=torch.bool)
    for number, sparsity in enumerate(options.sparsities):
        with sparse_decoding(loaded, CRITERION, limits[number : number + 1]) as decoding:
            for steps in (2, options.steps):
                with decoding.sequences(torch.zeros(1, dtype=torch.int64), prompt):
                    sparse = milliseconds(loaded, ids, steps)
        print(f"sparsity {sparsity:.2f}: {sparse:.1f} ms a token, {dense / sparse:.2f}x")
    print(f"dense again {milliseconds(loaded, ids, options.steps):.1f} ms a token")


def llama(blocks: int, hidden: int, intermediate: int) -> LoadedModel:
    """A Llama of these sizes with heads of 128 features, 4 query heads to a key head."""
    heads = max(hidden // 128, 4)
    return random_model(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_hidden_layers=blocks,
            num_attention_heads=heads,
            num_key_value_heads=heads // 4,
            pad_token_id=0,
        )
    )


def calibration() -> Tensor:
    """Random tokens whose scores thresholds are quantiles of."""
    return torch.randint(3, VOCABULARY, (1, CALIBRATION), generator=torch.Generator().manual_seed(1))


def milliseconds(loaded: LoadedModel, ids: Tensor, steps: int) -> float:
    """Median CPU time of a decode step behind the context `ids`."""
    seconds: list[float] = []
    with torch.inference_mode():
        cache = DynamicCache()
        token = loaded.model(ids, past_key_values=cache).logits[:, -1:].argmax(dim=-1)
        for _ in range(steps):
            began = time.thread_time()
            token = loaded.model(token, past_key_values=cache).logits[:, -1:].argmax(dim=-1)
            seconds.append(time.thread_time() - began)
    return statistics.median(seconds) * 1e3


if __name__ == "__main__":
    main()
