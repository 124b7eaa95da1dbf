"""Interleaved timing: workloads alternate call by call, and their times are summarised by medians and quartiles.

A machine slows down and speeds up for reasons of its own, over seconds and minutes. Workloads that alternate meet the
same machine; two runs one after the other do not. Means are not used, because a few calls are hit by something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

WARM = 2
"""Warm-up rounds that do not count: compilation, threads, caches."""


@dataclass(frozen=True)
class Spread:
    """Median, lower and upper quartile, in the unit of the values."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least one value; linear interpolation between neighbours."""
    low, median, high = (float(value) for value in np.quantile(np.asarray(values, np.float64), (0.25, 0.5, 0.75)))
    return Spread(median, low, high)


def ratios(over: Sequence[float], under: Sequence[float], extra: float = 0.0) -> Spread:
    """Median and quartiles of over / (under + extra), round by round.

    Args:
        over, under: seconds of two workloads in the same rounds.
        extra: seconds added to each of the second workload's.
    """
    return spread([first / (second + extra) for first, second in zip(over, under, strict=True)])


def time_interleaved(
    workloads: Mapping[str, Callable[[], object]], rounds: int, now: Callable[[], float], warm: int = WARM
) -> dict[str, list[float]]:
    """Seconds of every workload in every round that counts.

    Args:
        workloads: by name; each is called once a round, in order in even rounds and backwards in odd ones, so that none
            always follows the same other.
        rounds: rounds that count.
        now: the time in seconds, after work that was started is done (see `clock`).
        warm: rounds before them that do not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in workloads}
    order = list(workloads.items())
    for number in range(warm + rounds):
        for name, workload in order if number % 2 == 0 else reversed(order):
            start = now()
            workload()
            if number >= warm:
                seconds[name].append(now() - start)
    return seconds


def clock(device: torch.device) -> Callable[[], float]:
    """A function that gives wall-clock seconds after everything that was started on the device is done."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
