"""Where the time of a decode step goes on a CPU: reading weights, and everything else.

    python -m benchmarks.step_split MODEL TEXT --weights bfloat16 --sparsity 0.5

Whole steps alternate with their products alone: those of the projections, on the inputs that a step gave them, and of
`lm_head` where its weights are rounded. What is left of a step is attention, norms, activations, the cache, `argmax`,
and Python. Medians and quartiles, greedy tokens behind 128 tokens of the text, uniform thresholds.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from benchmarks.decode_step import CRITERION, thresholds
from wina_amp.decode.decoding import sparse_decoding
from wina_amp.decode.interleaved import spread, time_interleaved
from wina_amp.names import NUMBA, WEIGHTS
from wina_amp.profile_set.identity import as_loaded

CONTEXT, CALIBRATION = 128, 256


def main() -> None:
    """Print milliseconds of a step, of its products, and of the rest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--weights", choices=WEIGHTS, default="bfloat16")
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    text = AutoTokenizer.from_pretrained(options.model)(options.text.read_text()[:4000], return_tensors="pt").input_ids
    for line in lines(model, text, options):
        print(line, flush=True)


def lines(model: Any, text: Tensor, options: argparse.Namespace) -> list[str]:
    """The lines to print, of greedy steps behind the text's first tokens."""
    loaded, ids, groups = as_loaded(model), text[:, :CONTEXT], torch.zeros(1, dtype=torch.int64)
    limits = thresholds(loaded, options.sparsity, text[:, :CALIBRATION])
    sparse = sparse_decoding(loaded, CRITERION, limits, backend=NUMBA, weights=options.weights)
    dense = torch.zeros(ids.shape, dtype=torch.bool)
    with torch.inference_mode(), sparse as decoding, decoding.sequences(groups, dense):
        cache, token = DynamicCache(config=model.config), ids[:, -1:]
        model(ids, past_key_values=cache)

        def step() -> None:
            nonlocal token
            token = model(token, past_key_values=cache).logits[:, -1:].argmax(dim=-1)

        inputs: list[Tensor] = []
        handles = [
            shared.layers[0].module.register_forward_pre_hook(
                lambda _layer, given: inputs.append(given[0][:, 0].clone())
            )
            for shared in decoding.products
        ]
        step()
        for handle in handles:
            handle.remove()
        gathers = [shared.built[NUMBA] for shared in decoding.products]

        def products() -> None:
            for gather, x in zip(gathers, inputs, strict=True):
                gather(x, groups)

        seconds = time_interleaved({"step": step, "products": products}, options.rounds, time.perf_counter)
    whole, read = spread(seconds["step"]), spread(seconds["products"])
    rest = whole.median - read.median
    return [
        f"{options.weights}, {options.sparsity:.0%} masked, {options.threads} threads, load {os.getloadavg()[0]:.1f}",
        *(
            f"{name:9} {1e3 * part.median:6.2f} ms [{1e3 * part.low:.2f}, {1e3 * part.high:.2f}], best {1e3 * best:.2f}"
            for name, part, best in (
                ("step", whole, min(seconds["step"])),
                ("products", read, min(seconds["products"])),
            )
        ),
        f"{'the rest':9} {1e3 * rest:6.2f} ms, {rest / whole.median:.0%} of a step",
    ]


if __name__ == "__main__":
    main()
