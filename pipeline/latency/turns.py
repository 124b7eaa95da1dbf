"""Sides that take turns, and what their times say.

A machine slows down and speeds up for reasons of its own, over seconds and minutes. Sides that take turns, a step each,
meet the same machine; two runs one after the other do not. Times are summed up by medians and quartiles, because a few
steps are hit by something else, and never by a mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

WARM = 2
"""First rounds that do not count: compilation, threads, caches."""


@dataclass(frozen=True)
class Spread:
    """Median and quartiles, in the unit of what they are of."""

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
        over, under: seconds of two sides in the same rounds.
        extra: seconds that each of the second side's steps costs besides.
    """
    return spread([first / (second + extra) for first, second in zip(over, under, strict=True)])


def take_turns(
    sides: Mapping[str, Callable[[], object]], rounds: int, now: Callable[[], float], warm: int = WARM
) -> dict[str, list[float]]:
    """Seconds of every side in every round that counts.

    Args:
        sides: name -> the work; each is called once a round, in order in even rounds and backwards in odd ones, so that
            none always follows the same other.
        rounds: that count.
        now: seconds; it must wait for work that was started (see `clock`).
        warm: rounds before them that do not count.
    """
    spent: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides.items())
    for turn in range(warm + rounds):
        for name, work in order if turn % 2 == 0 else reversed(order):
            began = now()
            work()
            if turn >= warm:
                spent[name].append(now() - began)
    return spent


def clock(device: torch.device) -> Callable[[], float]:
    """Wall-clock seconds, after everything that was started on the device is done."""
    if device.type != "cuda":
        return time.perf_counter

    def now() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return now
