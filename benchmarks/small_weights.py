"""What bfloat16 weights cost: perplexity of a text with projections and `lm_head` rounded, dense or masked.

    python -m benchmarks.small_weights MODEL TEXT

The rounded weights are multiplied densely, so that every token is predicted by them, where decoding leaves the prompt
to the model's own. All passes are over the same tokens, so differences are paired; behind them stands their standard
error. Windows begin with the tokenizer's first token, without which Gemma predicts badly. Masked passes have uniform
thresholds from the scores of other tokens of the text, and thresholds and norms are those of the weights before
rounding, as in decoding.
"""

from __future__ import annotations

import argparse
import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.random_models import thresholds
from wina_amp.masks.install import Runtime, install
from wina_amp.models.projections import projections
from wina_amp.names import WINA
from wina_amp.profile_set.identity import as_loaded

WIDTH = 512
"""Tokens of a window."""


def main() -> None:
    """Print two rows for every sparsity."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--sparsities", type=float, nargs="*", default=[0.5])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(options.threads)
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    windows, others = _windows(AutoTokenizer.from_pretrained(options.model), options.text.read_text(), options.windows)
    if model.lm_head.weight is model.model.embed_tokens.weight:  # embeddings are not rounded
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
    layers = [*(projection.module for projection in projections(model)), model.lm_head]
    own = [layer.weight.data for layer in layers]
    for sparsity in (0.0, *options.sparsities):
        with ExitStack() as stack:
            limits = thresholds(as_loaded(model), WINA, [sparsity], others) if sparsity else None
            runtime = None if limits is None else stack.enter_context(install(as_loaded(model), WINA, limits))
            base = _losses(model, windows, runtime)
            print(f"{sparsity:4.0%} masked, float32: perplexity {math.exp(base.mean()):.3f}", flush=True)
            for layer, weight in zip(layers, own, strict=True):
                layer.weight.data = weight.bfloat16().float()
            difference = _losses(model, windows, runtime) - base
            change, error = math.expm1(difference.mean()), float(difference.std()) / len(difference) ** 0.5
            print(f"{sparsity:4.0%} masked, bfloat16: {change:+.2%} +- {error:.2%}", flush=True)
            for layer, weight in zip(layers, own, strict=True):
                layer.weight.data = weight


def _windows(tokenizer: Any, text: str, number: int) -> tuple[Tensor, Tensor]:
    """The first windows of a text, and one from its end."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
    step = WIDTH - len(begin)
    rows = torch.cat([ids[: number * step], ids[-step:]]).reshape(number + 1, step)
    rows = torch.cat([torch.tensor(begin, dtype=torch.int64).expand(number + 1, -1), rows], dim=1)
    return rows[:-1], rows[-1:]


def _losses(model: Any, windows: Tensor, runtime: Runtime | None) -> Tensor:
    """Of every token but the first of a window."""
    losses: list[Tensor] = []
    for window in windows:
        with ExitStack() as stack:
            if runtime is not None:
                eligible = torch.ones(1, len(window), dtype=torch.bool)
                stack.enter_context(runtime.rows(torch.zeros(1, dtype=torch.int64), eligible))
            hidden = model.model(window[None]).last_hidden_state[0, :-1]
        for part, targets in zip(hidden.split(128), window[1:].split(128), strict=True):
            losses.append(cross_entropy(model.lm_head(part), targets, reduction="none"))
    return torch.cat(losses)


if __name__ == "__main__":
    main()
