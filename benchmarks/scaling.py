"""A simulated run of the pipeline on a cluster: the tasks of every stage, given to workers as the pools give them.

    python -m benchmarks.scaling                      # Llama-3-70B, 100,000 samples, 8 nodes of 8 H100
    python -m benchmarks.scaling --nodes 1 --lost-after 20

A pool gives the next task, in order, to the worker that is free first (`pipeline/executors`); a stage is over with its
last task. So a stage takes longer than its work divided by the workers where tasks are few or the last ones are long,
where workers start, and where one is lost and its task is begun again. Prints both times, which docs/scaling.md quotes.

Nothing is measured here. Sizes of tasks are those of the stages; the lengths of samples are drawn (log-normal), and
what a GPU does is assumed: 40% of the published 989 TFLOP/s in a forward pass.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.allocate_greedy import SHARES
from stages.capture import BATCHES_PER_PART
from stages.evaluate import PORTION

WEIGHTS = 68.5e9
"""Of Llama-3-70B in projections; two FLOP each for a token."""

FLOPS = 0.4 * 989e12
TOKENS, SPREAD = 500.0, 0.6
"""Mean of a sample's tokens, and the standard deviation of their logarithm."""

BATCH = 8192
CAPTURE, MASKS, GRADIENT = 1.35, 1.5, 3.0
"""Times the plain pass."""

START = 60.0
"""Seconds until a worker has read 140 GB of weights, from the page cache after the first stage."""

TARGETS, METHODS, SETS = 3, 9, 7
"""Of the default run; `dense` is evaluated at one target."""


@dataclass(frozen=True)
class Stage:
    """A stage with a model: seconds of its tasks, one array for every round that waits for the one before."""

    name: str
    rounds: Sequence[np.ndarray]
    stages: int = 1
    """How many stages of dvc.yaml share the tasks evenly; workers start anew in each."""


def main() -> None:
    """Print what every stage would take, as work divided by workers and as simulated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling")
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=8, help="of eight GPUs, two of which hold a model")
    parser.add_argument("--lost-after", type=float, default=100.0, help="mean hours until a worker is lost")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    workers = options.nodes * 4
    drawn = random.lognormal(np.log(TOKENS) - SPREAD**2 / 2, SPREAD, options.samples)
    print(
        f"{workers} workers; a worker reads {FLOPS / WEIGHTS / 2:,.0f} tokens/s, and is lost after about "
        f"{options.lost_after:g} hours\n"
    )
    print(f"{'stage':<22}{'tasks':>8}{'work / workers':>16}{'simulated':>12}  min")
    totals = np.zeros(2)
    for stage in stages(drawn):
        even = sum(float(tasks.sum()) for tasks in stage.rounds) / workers
        share = [tasks[part :: stage.stages] for part in range(stage.stages) for tasks in stage.rounds]
        starts = stage.stages * START
        taken = starts + sum(makespan(tasks, workers, options.lost_after * 3600, random) for tasks in share)
        totals += (even, taken)
        print(f"{stage.name:<22}{sum(map(len, stage.rounds)):>8}{even / 60:>16.1f}{taken / 60:>12.1f}")
    print(f"{'together':<30}{totals[0] / 60:>16.1f}{totals[1] / 60:>12.1f}")
    print(
        f"\n{totals[1] / 3600 * options.nodes * 8:,.0f} GPU hours; workers busy {totals[0] / totals[1]:.0%} of the time"
    )


def stages(lengths: np.ndarray) -> list[Stage]:
    """The stages with a model of the default run over samples of these lengths, half of them for evaluation."""
    pass_of = 2 * WEIGHTS / FLOPS
    held_out = lengths[len(lengths) // 2 :]
    portions = _sums(held_out, PORTION) * pass_of
    parts = _sums(np.sort(lengths), max(1, round(BATCH / TOKENS)) * BATCHES_PER_PART) * pass_of
    evaluations = (METHODS - 1) * TARGETS
    greedy = np.full(SHARES, 320 * 16384 * pass_of / SHARES)
    step = np.full(TARGETS, 150_000 / 160 * pass_of * GRADIENT)
    return [
        Stage("capture", [parts * CAPTURE]),
        Stage("allocate, greedy", [greedy]),
        Stage("allocate, clustered", [np.tile(greedy / 8, 8)]),
        Stage("allocate, kl", [step * 160]),
        Stage("profile", [np.full(SETS * TARGETS * 4, 8192 * MASKS * pass_of)], SETS),
        Stage("dense", [portions]),
        Stage("evaluate", [np.tile(portions * MASKS, evaluations)], METHODS - 1),
    ]


def makespan(tasks: np.ndarray, workers: int, lost_after: float, random: np.random.Generator) -> float:
    """Seconds until the last task is done.

    Args:
        tasks: their seconds, in the order in which they are given out.
        workers: that are there from the start.
        lost_after: mean seconds until a worker ends; its task goes to the front, and another worker starts.
    """
    free = [(0.0, worker) for worker in range(workers)]
    ends = 0.0
    waiting = list(tasks[::-1])
    while waiting:
        begun, worker = heapq.heappop(free)
        seconds, lost = float(waiting.pop()), float(random.exponential(lost_after))
        if lost < seconds:
            waiting.append(seconds)
            heapq.heappush(free, (begun + lost + START, worker))
            continue
        ends = max(ends, begun + seconds)
        heapq.heappush(free, (begun + seconds, worker))
    return ends


def _sums(values: np.ndarray, size: int) -> np.ndarray:
    """Sums of `size` values each, in order; the last of what is left."""
    return np.add.reduceat(values, np.arange(0, len(values), size))


if __name__ == "__main__":
    main()
