"""What rounded weights cost: perplexity of a text with projections and `lm_head` in int8 or bfloat16, dense or masked.

    python -m benchmarks.small_weights MODEL TEXT

The weights are rounded as the kernels on a CPU round them (`wina_amp/decode/packed_weights.py`) and multiplied densely,
so that every token is predicted by them, where decoding leaves the prompt to the model's own. `groups of 64` is the
format that was not built: a scale for every input and 64 outputs. All passes are over the same tokens, so differences
are paired. Masked passes have uniform thresholds from the scores of other tokens of the text.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.decode_step import CRITERION, thresholds
from wina_amp.decode.packed_weights import pack
from wina_amp.masks.install import install
from wina_amp.models.projections import projections
from wina_amp.profile_set.identity import as_loaded

WIDTH = 512
"""Tokens of a window."""


def grouped(weight: Tensor, outputs: int = 64) -> Tensor:
    """int8 with a scale for every input and this many outputs, as float32 numbers."""
    padded = pad(weight, (0, 0, 0, -len(weight) % outputs))
    blocks = padded.reshape(-1, outputs, weight.shape[1])
    unit = blocks.abs().amax(dim=1, keepdim=True).clamp_min(1e-30) / 127
    return ((blocks / unit).round() * unit).reshape(padded.shape)[: len(weight)]


FORMATS: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": lambda weight: weight,
    "bfloat16": lambda weight: pack(weight, "bfloat16").unpacked(),
    "int8": lambda weight: pack(weight, "int8").unpacked(),
    "int8, groups of 64": grouped,
}


def main() -> None:
    """Print a row for every format and sparsity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5])
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    ids = AutoTokenizer.from_pretrained(options.model)(options.text.read_text(), return_tensors="pt").input_ids[0]
    windows, others = ids[: options.windows * WIDTH].reshape(-1, WIDTH), ids[None, -WIDTH:]
    if model.lm_head.weight is model.model.embed_tokens.weight:  # embeddings are not rounded
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    layers = [*(projection.module for projection in projections(model)), model.lm_head]
    own = [layer.weight.data for layer in layers]
    limits = {sparsity: thresholds(as_loaded(model), sparsity, others) for sparsity in options.sparsities}
    for sparsity, limit in {0.0: None, **limits}.items():
        base = 0.0
        names = FORMATS if limit is None else ("float32", "int8")
        for name in names:
            for layer, weight in zip(layers, own, strict=True):
                layer.weight.data = FORMATS[name](weight)
            loss = sum(_loss(model, window, limit) for window in windows) / len(windows)
            base = base or loss
            change = f"{100 * math.expm1(loss - base):+.2f}%"
            print(f"{sparsity:4.0%} masked, {name:18}: perplexity {math.exp(loss):.3f} ({change})", flush=True)
        for layer, weight in zip(layers, own, strict=True):
            layer.weight.data = weight


def _loss(model: Any, window: Tensor, limit: Tensor | None) -> float:
    eligible = torch.ones(1, len(window), dtype=torch.bool)
    with ExitStack() as stack:
        if limit is not None:
            runtime = stack.enter_context(install(as_loaded(model), CRITERION, limit))
            stack.enter_context(runtime.rows(torch.zeros(1, dtype=torch.int64), eligible))
        hidden = model.model(window[None]).last_hidden_state[0, :-1]
    losses = [
        cross_entropy(model.lm_head(part), target, reduction="sum")
        for part, target in zip(hidden.split(128), window[1:].split(128), strict=True)
    ]
    return float(sum(losses)) / (len(window) - 1)


if __name__ == "__main__":
    main()
