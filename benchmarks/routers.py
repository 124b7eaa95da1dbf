"""Time of a router: microseconds per prompt, beside the dense forward pass over the same prompt.

    python -m benchmarks.routers

Every kind of router that an exported profile set can have, on a model on this machine, one prompt at a time as in
`generate()`: from token ids to the group. Weights of routers are random, which changes no time; `scores` reads the
first block. Rounds alternate between kinds; figures are medians over prompts and rounds, on one thread, and the
counted operations stand beside them (`wina_amp/routing/router.py`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from pipeline.compute.operations import Work, attended, dense_flops
from pipeline.compute.routing import embedding_flops, neighbour_flops, scores_flops
from pipeline.evaluate.method import shape_of
from stages.inputs import paths
from wina_amp.models.load import LoadedModel, load
from wina_amp.models.projections import projections, sites
from wina_amp.routing.prompt_router import KINDS, PromptRouter
from wina_amp.routing.router import Router

DENSE = "dense forward pass"
BLOCKS, DIM, GROUPS = 1, 32, 5


def main() -> None:
    """Print a row for every kind of router."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=paths.REFERENCE_MODEL)
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--longest", type=int, default=200, help="tokens of the longest prompt; the shortest has 20")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load(options.model, revision=None, dtype="float32", device="cpu")
    prompts = random_prompts(loaded, options.prompts, options.longest)
    taken = alternate(works(loaded), prompts, options.repeats)
    counted = operations(loaded, prompts)
    mean = np.mean([len(prompt) for prompt in prompts])
    print(f"{len(prompts)} prompts of {mean:.0f} tokens on average, {options.repeats} rounds, medians, {options.model}")
    print(f"{'':20}{'microseconds':>14}{'of dense, %':>13}{'FLOPs':>12}{'of dense, %':>13}")
    for name, seconds in taken.items():
        time_fraction, fraction = seconds / taken[DENSE], counted[name] / counted[DENSE]
        print(f"{name:20}{1e6 * seconds:14.0f}{100 * time_fraction:13.2f}{counted[name]:12.3g}{100 * fraction:13.3f}")


def random_prompts(loaded: LoadedModel, number: int, longest: int) -> list[Int[ndarray, " tokens"]]:
    """Prompts of 20 to `longest` random tokens."""
    draw = np.random.default_rng(0)
    vocabulary = int(loaded.model.config.vocab_size)
    return [draw.integers(0, vocabulary, draw.integers(20, longest + 1)) for _ in range(number)]


def works(loaded: LoadedModel) -> dict[str, Callable[[Int[ndarray, " tokens"]], object]]:
    """Kind -> the work for one prompt, the dense forward pass first."""
    facts = {"blocks": str(BLOCKS), "dim": str(DIM), "seed": "0"}
    works: dict[str, Callable[[Int[ndarray, " tokens"]], object]] = {DENSE: lambda prompt: _dense(loaded, prompt)}
    for kind in KINDS:
        router = Router(torch.randn(GROUPS, _width(loaded, kind)), torch.zeros(GROUPS))
        prompt_router = PromptRouter(router, facts | {"router": kind}, loaded, 1)
        works[kind] = lambda prompt, prompt_router=prompt_router: prompt_router([prompt])
    return works


def alternate(
    works: Mapping[str, Callable[[Int[ndarray, " tokens"]], object]],
    prompts: Sequence[Int[ndarray, " tokens"]],
    repeats: int,
) -> dict[str, float]:
    """Kind -> median seconds a prompt; a first round warms up and is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            for prompt in prompts:
                began = time.perf_counter()
                work(prompt)
                if repeat:
                    taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def operations(loaded: LoadedModel, prompts: Sequence[Int[ndarray, " tokens"]]) -> dict[str, float]:
    """Kind -> operations a prompt, on average; the dense pass without its output head."""
    tokens = np.array([len(prompt) for prompt in prompts])
    nothing = np.zeros(len(tokens), dtype=np.int64)
    met = np.array([attended(0, int(number)) for number in tokens])
    shape = shape_of(loaded, None)
    hidden = int(loaded.model.config.hidden_size)
    pairs = float(neighbour_flops(tokens, hidden, GROUPS).mean())
    reading = float(embedding_flops(tokens, hidden, GROUPS).mean())
    first = [projection for projection in projections(loaded.model) if projection.block < BLOCKS]
    scores = scores_flops(tokens, tokens - 1, first, dim=DIM, groups=GROUPS)
    dense = dense_flops(shape, Work(tokens, met, nothing, nothing, np.zeros((len(tokens), 0), dtype=np.int64)))
    means = {DENSE: float(dense.mean()), "embedding": reading, "neighbours": pairs, "scores": float(scores.mean())}
    return means | {"benefit": pairs}


def _width(loaded: LoadedModel, kind: str) -> int:
    """Numbers that a kind of router reads."""
    if kind != "scores":
        return int(loaded.model.config.hidden_size) * (1 if kind == "embedding" else 2)
    return DIM * len(sites([projection for projection in projections(loaded.model) if projection.block < BLOCKS]))


def _dense(loaded: LoadedModel, prompt: Int[ndarray, " tokens"]) -> object:
    with torch.inference_mode():
        return loaded.decoder(input_ids=torch.from_numpy(prompt)[None].to(loaded.device), use_cache=False)


if __name__ == "__main__":
    main()
