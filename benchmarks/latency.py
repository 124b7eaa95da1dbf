"""The measurements of stage `latency` on a random model: decode steps, alternating with the strongest dense baseline.

    python -m benchmarks.latency                                   # two blocks, hidden 1024: 122 MB under masks
    python -m benchmarks.latency --hidden 4096 --intermediate 14336

The stage's own library on a Llama with random weights in float32 on the CPU (`benchmarks/decode_step.py` makes it):
uniform thresholds from the `wina` scores of random tokens, a random embedding router, random text. Sparsity 0 is the
check: it should come out at 1, because the baseline may be the sparse backend with nothing masked.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.decode_step import CRITERION, VOCABULARY, calibration, llama
from benchmarks.random_models import thresholds
from pipeline.latency.machine import last_level_cache, load, machine
from pipeline.latency.timing import Dense, Profiled, Work, time_method
from wina_amp.routing.router import Router

GROUPS, SAMPLES = 2, 40


def main() -> None:
    """Print the ways the dense model was tried in, then a row for every sparsity, batch and context."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--intermediate", type=int, default=4096)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.0, 0.5, 0.65])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--contexts", type=int, nargs="+", default=[64])
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    for line in lines(parser.parse_args()):
        print(line, flush=True)


def lines(options: argparse.Namespace) -> Iterator[str]:
    """The lines to print, each as soon as it is measured."""
    torch.set_num_threads(options.threads)
    loaded = llama(options.blocks, options.hidden, options.intermediate)
    draw = np.random.default_rng(0)
    work = Work(
        prompts=[draw.integers(3, VOCABULARY, draw.integers(20, 60)) for _ in range(SAMPLES)],
        contexts=tuple(options.contexts),
        batches=tuple(options.batches),
        steps=options.steps,
        answer_tokens=128,
        cache=last_level_cache(loaded.device) or 0,
        dense_prefix=1,
    )
    facts = machine(loaded.device, options.threads)
    yield f"{facts['device']}, {facts['cores']} cores, {options.threads} threads, torch {facts['torch']}, load {load()}"
    router = (Router(torch.randn(GROUPS, options.hidden), torch.zeros(GROUPS)), {"router": "embedding"})
    with Dense(loaded, work) as dense:
        for (batch, context), cell in dense.cells.items():
            tried = ", ".join(f"{way} {1e3 * seconds.median:.2f}" for way, seconds in cell.tried.items())
            yield f"dense, batch {batch}, context {context}, ms: {tried}"
        for sparsity in options.sparsities:
            limits = thresholds(loaded, CRITERION, [sparsity], calibration()).repeat(GROUPS, 1, 1)
            method = Profiled(CRITERION, limits, np.arange(SAMPLES) % GROUPS, router)
            for row in time_method(loaded, dense, method, work):
                yield (
                    f"sparsity {sparsity:.2f}, batch {row['batch']}, context {row['context']}: "
                    f"{row['ms_per_token']:.2f} ms, dense {row['dense_ms']:.2f} ({row['dense_way']}), "
                    f"{row['speedup']:.2f}x [{row['speedup_low']:.2f}, {row['speedup_high']:.2f}]; skips "
                    f"{row['skipped']:.2f}; kernels {row['kernel_gb_per_second']:.1f} GB/s, copy "
                    f"{row['copy_gb_per_second']:.1f}; load {row['load']:.1f}"
                )


if __name__ == "__main__":
    main()
