"""Speed-up of sparse decoding on a CPU: the time of torch's dense product over that of the numba backend.

    python -m benchmarks.decode                  # two threads, wall clock: the figure that counts, on a quiet machine
    python -m benchmarks.decode --threads 1      # one thread, its CPU time: what a busy machine blurs least
    python -m benchmarks.decode --weights bfloat16   # beside the float32 dense product

Maps have the shapes of Llama-3-8B's, weights and tokens are random, float32; thresholds are quantiles of the map's own
`wina` scores, and the realised density is printed. Dense product, sparse ones and a copy of memory alternate, each on
other weights and another token, so that none finds in a cache what it read before; the copy moves a gigabyte.
Ratios are of medians; quartiles of the times stand beside them, because other programs on the machine move both. With
more programs than cores the wall clock measures time slices: believe it below a load of 1, or take one thread.

GB/s are bytes of weights that must be read (kept ones) per second; those of the copy are read and written.

The issue asks for at least 1.6 at density 0.5 and 2.2 at 0.35 on the MLP's projections, one token; exits with 1 below.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import count

import numba
import torch
from torch import Tensor
from torch.nn.functional import linear

from wina_amp.decode.backends import BACKENDS
from wina_amp.decode.interleaved import Spread, spread, time_interleaved
from wina_amp.decode.masked_projections import MaskedProjection, SparseProjections
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.names import Weights
from wina_amp.scoring.criteria import feature_weights, scores

SHAPES = {"gate, up": (4096, 14336), "down": (14336, 4096), "q, o": (4096, 4096), "k, v": (4096, 1024)}
"""Inputs and outputs."""

DENSITIES = (1.0, 0.5, 0.35, 0.2)
TARGETS = {("gate, up", 0.5): 1.6, ("down", 0.5): 1.6, ("gate, up", 0.35): 2.2, ("down", 0.35): 2.2}

BYTES: dict[Weights, int] = {"copy": 4, "bfloat16": 2}
"""Of a stored weight."""

_COPIES = 3
"""Weight matrices that are used in rotation."""

_COPIED = 1 << 27
"""Numbers of the copy: half a gigabyte read, half written."""


def main() -> None:
    """Print the ratios; exits with 1 below a target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1, help="tokens per call, each with its own mask")
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--weights", choices=BYTES, default="copy", help="of the sparse products")
    parser.add_argument("--map", action="append", choices=SHAPES, help="of these only; may be repeated")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    print(f"torch {torch.__version__}, numba {numba.__version__}, float32, {options.tokens} tokens per call")
    measured = "CPU time" if options.threads == 1 else "wall clock"
    print(f"{options.threads} threads, {options.repeats} repeats, {measured}")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the start")
    missed = [
        f"{name} at density {density:g}: {ratio:.2f}, target {TARGETS[name, density]}"
        for name in options.map or SHAPES
        for density, ratio in _ratios(name, options, clock).items()
        if options.tokens == 1 and ratio < TARGETS.get((name, density), 0.0)
    ]
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    for line in missed:
        print(f"below target: {line}")
    raise SystemExit(bool(missed))


def _ratios(name: str, options: argparse.Namespace, clock: Callable[[], float]) -> dict[float, float]:
    """Density -> dense over sparse; prints a line for each."""
    inputs, outputs = SHAPES[name]
    tokens, repeats, kind = options.tokens, options.repeats, options.weights
    draw = torch.Generator().manual_seed(0)
    weights = [torch.randn(outputs, inputs, generator=draw) / inputs**0.5 for _ in range(_COPIES)]
    batches = [torch.randn(tokens, inputs, generator=draw) for _ in range(2 * _COPIES + 1)]
    sparse = {density: [_built(weight, density, draw, kind) for weight in weights] for density in DENSITIES}
    groups = torch.zeros(tokens, dtype=torch.int64)
    source, target = torch.ones(_COPIED), torch.empty(_COPIED)

    def multiply(projections: Sequence[SparseProjections]) -> Callable[[int], object]:
        return lambda step: projections[step % _COPIES](batches[step % len(batches)], groups)

    works: dict[str, Callable[[int], object]] = {
        "copy": lambda _step: target.copy_(source),
        "dense": lambda step: linear(batches[step % len(batches)], weights[step % _COPIES]),
        **{str(density): multiply(projections) for density, projections in sparse.items()},
    }
    seconds = time_interleaved({name: _rotating(work) for name, work in works.items()}, repeats, clock, warm=1)
    copy, dense, *times = map(spread, seconds.values())
    size, stored = 4 * inputs * outputs, BYTES[kind] * inputs * outputs
    print(f"\n{name}: {inputs} -> {outputs}, {size / 1e6:.0f} MB; copy {8 * _COPIED / copy.median / 1e9:.1f} GB/s")
    print(f"  dense         {_row(dense, size)}")
    for density, spent in zip(DENSITIES, times, strict=True):
        read = _kept(weights[0], batches, density, draw) * stored
        ratio = dense.median / spent.median
        fraction = f"read {read / stored:.3f}"
        print(f"  density {density:4.2f}  {_row(spent, read)}   {fraction}   ratio {ratio:.2f}")
    return {density: dense.median / spent.median for density, spent in zip(DENSITIES, times, strict=True)}


def _row(spent: Spread, read: float) -> str:
    quartiles = f"{1e3 * spent.median:7.2f} ms [{1e3 * spent.low:.2f}, {1e3 * spent.high:.2f}]"
    return f"{quartiles:26} {read / spent.median / 1e9:6.1f} GB/s"


def _cutoffs(weight: Tensor, density: float, draw: torch.Generator) -> Tensor:
    """Cutoffs that keep a fraction of random tokens' features; density 1 keeps all but exact zeros."""
    factors = feature_weights("wina", weight)
    sample = scores(torch.randn(64, weight.shape[1], generator=draw), factors).flatten().sort().values
    threshold = sample[int((1 - density) * len(sample))] if density < 1 else torch.tensor(0.0)
    return cutoffs(factors, threshold[None])


def _built(weight: Tensor, density: float, draw: torch.Generator, kind: Weights) -> SparseProjections:
    return BACKENDS["numba"].build([MaskedProjection(weight, None, _cutoffs(weight, density, draw), kind)])


def _kept(weight: Tensor, batches: Sequence[Tensor], density: float, draw: torch.Generator) -> float:
    """The fraction of inputs that any token of a batch keeps, the mean over batches."""
    limit = _cutoffs(weight, density, draw)
    return statistics.mean(float((batch.abs() > limit).any(dim=0).float().mean()) for batch in batches)


def _rotating(work: Callable[[int], object]) -> Callable[[], object]:
    """The work of the next step in every call."""
    steps = count()
    return lambda: work(next(steps))


if __name__ == "__main__":
    main()
