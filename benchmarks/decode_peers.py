"""Decode steps of one checkpoint on a CPU, side by side: torch, llama.cpp, and sparse decoding in every format.

    pip install -r requirements-peers.txt                                             # llama.cpp
    python -m benchmarks.llama_cpp model-q4_k_m.gguf model-q8_0.gguf                  # the same weights in Q8_0
    python -m benchmarks.decode_peers MODEL --gguf model-q8_0.gguf model-q4_k_m.gguf

Same prompt, same number of tokens behind it, same threads, in turns: a turn is `--steps` greedy tokens of one side, and
its result their mean time. Printed are medians and quartiles over the turns, the best turn (what a busy machine
disturbs least), the bytes of weights that a step reads, and the bandwidth that this makes beside that of a copy. Sides
that are ours run the model's own forward under `sparse_decoding`, with uniform thresholds from the scores of the text's
first tokens; `dense` masks nothing. The prompt, Python's start and packing are not timed.
"""

from __future__ import annotations

import argparse
import copy
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from benchmarks.decode import BYTES
from benchmarks.llama_cpp import LlamaCpp, bytes_per_token
from benchmarks.random_models import thresholds
from wina_amp.decode.decoding import Decoding, sparse_decoding
from wina_amp.decode.interleaved import Spread, spread
from wina_amp.models.families import INPUT
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.models.sharing import copy_sharing_weights
from wina_amp.names import WINA, Weights
from wina_amp.profile_set.identity import as_loaded

FORMATS: dict[str, Weights] = {"float32": "copy", "bfloat16": "bfloat16"}
COPIED = 1 << 27
"""Numbers of the copy: half a gigabyte read, half written."""

Turn = Callable[[int], float]
"""Seconds of a step, the mean over so many."""


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=Path)
    options.add_argument("--gguf", type=Path, nargs="*", default=[])
    options.add_argument("--text", type=Path, default=Path("README.md"), help="its beginning sets thresholds")
    options.add_argument("--sparsities", type=float, nargs="+", default=[0.4, 0.5, 0.65])
    options.add_argument("--formats", choices=FORMATS, nargs="+", default=list(FORMATS))
    options.add_argument("--compiled", action="store_true", help="torch.compile as well, which takes a minute")
    options.add_argument("--context", type=int, default=128)
    options.add_argument("--steps", type=int, default=24)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=150, help="no round begins later than that after the start")
    options.add_argument("--threads", type=int, default=2)
    return options


def main() -> None:
    """Print a row for every side."""
    options = parser().parse_args()
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    with ExitStack() as stack:
        for line in lines(options, stack):
            print(line, flush=True)


def lines(options: argparse.Namespace, stack: ExitStack) -> Iterator[str]:
    """The lines to print."""
    began = time.perf_counter()
    turns, sizes = sides(options, stack)
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    copies: list[float] = []
    for turn in turns.values():  # compilation, threads, caches
        turn(2)
    yield f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.context} tokens of context"
    source, target = torch.ones(COPIED), torch.empty(COPIED)
    target.copy_(source)
    for number in range(options.rounds):
        if number and time.perf_counter() - began > options.seconds:
            break
        for name in list(turns) if number % 2 == 0 else reversed(turns):
            seconds[name].append(turns[name](options.steps))
        start = time.perf_counter()
        target.copy_(source)
        copies.append(8 * COPIED / (time.perf_counter() - start))
    yield f"{len(copies)} rounds of {options.steps} tokens; load {os.getloadavg()[0]:.1f} at the end"
    yield f"copy of memory {spread(copies).median / 1e9:.1f} GB/s, read and written"
    for name, values in seconds.items():
        yield _row(name, spread(values), min(values), sizes[name])


def _row(name: str, step: Spread, best: float, size: float) -> str:
    quartiles = f"{1e3 * step.median:6.2f} ms [{1e3 * step.low:.2f}, {1e3 * step.high:.2f}]"
    rate = f"{size / 1e6:6.0f} MB a token, {size / step.median / 1e9:5.1f} GB/s"
    return f"{name:22} {quartiles:27} best {1e3 * best:6.2f}; {rate}"


def sides(options: argparse.Namespace, stack: ExitStack) -> tuple[dict[str, Turn], dict[str, float]]:
    """Name -> a turn of it, and the bytes of weights that it reads for a token. Models are sparse inside `stack`."""
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
    text = AutoTokenizer.from_pretrained(options.model)(options.text.read_text()[:4000], return_tensors="pt").input_ids
    loaded, ids = as_loaded(model), text[:, -options.context :]
    inside = sum(site.projection.module.weight.numel() for site in mask_sites(model, INPUT))
    head = model.lm_head.weight.numel()
    turns: dict[str, Turn] = {"torch float32": _turn(model, ids)}
    sizes: dict[str, float] = {"torch float32": 4 * (inside + head)}
    if options.compiled:
        fast = copy_sharing_weights(model)
        fast.forward = torch.compile(fast.forward, dynamic=True)
        turns["torch compiled"], sizes["torch compiled"] = _turn(fast, ids), 4 * (inside + head)
    half = copy.deepcopy(model).bfloat16()
    turns["torch bfloat16"], sizes["torch bfloat16"] = _turn(half, ids), 2 * (inside + head)
    limits = thresholds(loaded, WINA, (0.0, *options.sparsities), text[:, :256])
    for name in options.formats:
        width = BYTES[FORMATS[name]]
        whole = LoadedModel(copy_sharing_weights(model), loaded.tokenizer, loaded.device, loaded.family)
        decoding = stack.enter_context(sparse_decoding(whole, WINA, limits, weights=FORMATS[name]))
        for group, sparsity in enumerate((0.0, *options.sparsities)):
            label = f"ours {name}, " + (f"{sparsity:.0%}" if sparsity else "dense")
            turns[label] = _turn(whole.model, ids, decoding, group)
            kept = 1 - _skipped(whole.model, ids, decoding, group)
            sizes[label] = width * (kept * inside + head)
    for path in options.gguf:
        turns[f"llama.cpp {path.stem[-6:]}"] = LlamaCpp(path, ids[0].tolist(), options.threads)
        sizes[f"llama.cpp {path.stem[-6:]}"] = bytes_per_token(path)
    return turns, sizes


def _turn(model: Any, ids: Tensor, decoding: Decoding | None = None, group: int = 0) -> Turn:
    """Greedy tokens behind the context, whose cache is kept."""
    cache, token = DynamicCache(config=model.config), ids[:, -1:]
    numbers, prompt = torch.tensor([group]), torch.zeros(ids.shape, dtype=torch.bool)
    with torch.inference_mode():
        if decoding is None:
            model(ids, past_key_values=cache)
        else:
            with decoding.sequences(numbers, prompt):
                model(ids, past_key_values=cache)

    def steps(number: int) -> float:
        own, next_token = copy.deepcopy(cache), token
        start = time.perf_counter()
        for _ in range(number):
            next_token = model(next_token, past_key_values=own).logits[:, -1:].argmax(dim=-1)
        return (time.perf_counter() - start) / number

    def turn(number: int) -> float:
        with torch.inference_mode():
            if decoding is None:
                return steps(number)
            with decoding.sequences(numbers, prompt):
                return steps(number)

    return turn


def _skipped(model: Any, ids: Tensor, decoding: Decoding, group: int) -> float:
    cache = DynamicCache(config=model.config)
    dense = torch.zeros(ids.shape, dtype=torch.bool)
    with torch.inference_mode(), decoding.sequences(torch.tensor([group]), dense, is_counted=True) as sequences:
        token = model(ids, past_key_values=cache).logits[:, -1:].argmax(dim=-1)
        for _ in range(4):
            token = model(token, past_key_values=cache).logits[:, -1:].argmax(dim=-1)
        assert sequences.tally is not None
        return decoding.skipped(sequences.tally) or 0.0


if __name__ == "__main__":
    main()
