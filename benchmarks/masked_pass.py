"""Cost of masks in evaluation: the time of a masked pass over that of a dense one, on the same batches.

    python -m benchmarks.masked_pass                      # the embedded model
    python -m benchmarks.masked_pass --model FOLDER       # another model

Three kinds of work, as `pipeline/evaluate` does them: `blocks`, the forward pass alone; `choices`, log-likelihoods of
four continuations of a prompt, with logits; `answers`, greedy decoding. Prompts are random tokens of 20 to 160, in
batches of `--batch` tokens; thresholds are quantiles of the scores of the first batch, so that masks keep about what
the sparsity says. Dense and masked passes alternate batch by batch; a ratio is that of the same batch in the same
round, and the medians of all ratios are printed with their quartiles. CPU time of the one thread: other processes blur
it less than the wall clock. The issue asks for ratios of at most 1.2.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.random_models import thresholds
from pipeline.evaluate.choices import ScoringRequest, loglikelihoods
from pipeline.evaluate.decoding import GenerationRequest, generate
from pipeline.evaluate.ends import ends_of
from pipeline.evaluate.engine import Engine, running
from pipeline.evaluate.tally import Tally
from pipeline.profiles.profile import Profiles
from pipeline.tasks.generation import Limits
from stages.inputs import paths
from wina_amp.masks.eligibility import eligible
from wina_amp.models.load import LoadedModel, load
from wina_amp.names import TEAL, THRESHOLD, TOPK, WINA
from wina_amp.tokens.batching import batches
from wina_amp.tokens.padding import right_padded

WAYS = {"dense": None, "teal": (TEAL, THRESHOLD), "wina": (WINA, THRESHOLD), "topk": (WINA, TOPK)}
CHOICES, ANSWER_TOKENS = 4, 16

Work = Callable[[Engine], object]


def main() -> None:
    """Print a line for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(paths.REFERENCE_MODEL))
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batch", type=int, default=1024, help="tokens of a forward pass")
    parser.add_argument("--prompts", type=int, default=48)
    parser.add_argument("--sparsity", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load(options.model, revision=None, dtype=options.dtype, device="cpu")
    print(f"{options.model}, {options.dtype}, one thread, load {os.getloadavg()[0]:.1f}; quartiles in brackets")
    for line in lines(loaded, options.prompts, options.batch, options.sparsity, options.rounds):
        print(line, flush=True)


def lines(loaded: LoadedModel, prompts: int, batch: int, sparsity: float, rounds: int) -> list[str]:
    """The lines that are printed: every kind of work with the dense time of a token and a ratio for every mask."""
    tokens = random_prompts(prompts, int(loaded.model.config.vocab_size))
    works = {"blocks": blocks, "choices": choices, "answers": answers}
    values = profiles(loaded, tokens, batch, sparsity)
    said: list[str] = []
    with torch.inference_mode():
        for name, make in works.items():
            planned = make(loaded, tokens, batch)
            dense, ratios = alternate(loaded, planned, values, rounds)
            per_token = 1e3 * dense / sum(len(prompt) for prompt in tokens)
            said.append(f"{name:8} dense {per_token:.4f} ms a prompt token   " + "   ".join(ratios))
    return said


def random_prompts(number: int, vocabulary: int) -> list[list[int]]:
    """Prompts of 20 to 160 random tokens."""
    generator = np.random.default_rng(0)
    return [generator.integers(3, vocabulary, generator.integers(20, 161)).tolist() for _ in range(number)]


def profiles(loaded: LoadedModel, prompts: list[list[int]], batch: int, sparsity: float) -> dict[str, Profiles | None]:
    """The masks of every way: the quantile of each site's scores over the first batch; for top-k the sparsity."""
    ids, lengths = right_padded([prompts[i] for i in _batches([len(p) for p in prompts], batch)[0]])
    counted = eligible(lengths, lengths, ids.shape[1], 1)
    made: dict[str, Profiles | None] = {}
    for way, row in WAYS.items():
        if row is None:
            made[way] = None
            continue
        criterion, kind = row
        limits = thresholds(loaded, criterion, [sparsity], ids, counted)
        values = limits if kind == THRESHOLD else torch.full_like(limits, sparsity, dtype=torch.float64)
        made[way] = Profiles(criterion, values.numpy(), kind)
    return made


def blocks(loaded: LoadedModel, prompts: list[list[int]], batch: int) -> list[Work]:
    """The forward pass of every batch of prompts."""

    def work(rows: list[int]) -> Work:
        ids, lengths = right_padded([prompts[i] for i in rows])
        counted = eligible(lengths, lengths, ids.shape[1], 1)
        return lambda engine: engine.forward(ids, [0] * len(rows), counted)

    return [work(rows) for rows in _batches([len(prompt) for prompt in prompts], batch)]


def choices(loaded: LoadedModel, prompts: list[list[int]], batch: int) -> list[Work]:
    """Log-likelihoods of continuations of 1 to 12 tokens behind every prompt."""
    generator = np.random.default_rng(1)
    vocabulary = int(loaded.model.config.vocab_size)
    requests = [
        ScoringRequest(0, 0, prompt, [generator.integers(3, vocabulary, size).tolist() for size in sizes])
        for prompt in prompts
        for sizes in [generator.integers(1, 13, CHOICES)]
    ]

    def work(rows: list[int]) -> Work:
        return lambda engine: loglikelihoods(engine, [requests[i] for i in rows], _tally(engine))

    return [work(rows) for rows in _batches([request.length for request in requests], batch)]


def answers(loaded: LoadedModel, prompts: list[list[int]], batch: int) -> list[Work]:
    """Greedy decoding behind every prompt."""
    ends = ends_of(loaded, None)
    requests = [GenerationRequest(0, 0, prompt, Limits((), ANSWER_TOKENS)) for prompt in prompts]

    def work(rows: list[int]) -> Work:
        return lambda engine: generate(engine, [requests[i] for i in rows], _tally(engine), ends)

    return [work(rows) for rows in _batches([request.length for request in requests], batch)]


def alternate(
    loaded: LoadedModel, planned: list[Work], values: dict[str, Profiles | None], rounds: int
) -> tuple[float, list[str]]:
    """Seconds of all batches dense (the sum of the batches' medians), and a text for the ratio of every other way."""
    spent: dict[str, list[list[float]]] = {way: [[] for _ in planned] for way in values}
    for number in range(rounds + 1):
        for batch, work in enumerate(planned):
            for way, masks in values.items():
                with running(loaded, masks, dense_prefix=1) as engine:
                    began = time.process_time()
                    work(engine)
                    if number:  # the first round warms up: compilation, allocator
                        spent[way][batch].append(time.process_time() - began)
    ratios: list[str] = []
    for way, times in spent.items():
        if values[way] is not None:
            pairs = zip(times, spent["dense"], strict=True)
            each = [m / d for masked, dense in pairs for m, d in zip(masked, dense, strict=True)]
            low, middle, high = statistics.quantiles(each, n=4)
            ratios.append(f"{way} {middle:.3f} [{low:.3f}, {high:.3f}]")
    return sum(statistics.median(times) for times in spent["dense"]), ratios


def _tally(engine: Engine) -> Tally:
    return Tally(1, 0 if engine.runtime is None else engine.runtime.masks)


def _batches(lengths: list[int], budget: int) -> list[list[int]]:
    return batches(lengths, [f"{number:05d}" for number in range(len(lengths))], budget)


if __name__ == "__main__":
    main()
