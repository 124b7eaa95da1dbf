"""`wina_amp.decode.interleaved` under a clock that the test moves: order, warm-up rounds, medians and ratios."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wina_amp.decode.interleaved import clock, ratios, spread, time_interleaved

SECONDS = st.floats(1e-6, 1e3)


class Clock:
    """A clock that only workloads move."""

    def __init__(self) -> None:
        self.now, self.runs = 0.0, []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float]):
        """A workload that takes the next of some seconds each time."""
        left = iter(seconds)

        def run() -> None:
            self.runs.append(name)
            self.now += next(left)

        return run


def test_workloads_alternate_swap_their_order_and_warm_rounds_do_not_count():
    time = Clock()
    workloads = {"a": time.work("a", [9, 8, 1, 2, 3]), "b": time.work("b", [7, 7, 4, 5, 6])}
    assert time_interleaved(workloads, 3, time, warm=2) == {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert "".join(time.runs) == "abbaabbaab"


@given(st.lists(SECONDS, min_size=1, max_size=40))
def test_a_spread_is_median_and_quartiles_in_order(values: list[float]):
    quartiles = spread(values)
    assert min(values) <= quartiles.low <= quartiles.median <= quartiles.high <= max(values)
    assert quartiles.median == pytest.approx(np.median(values))
    ordered, position = sorted(values), 0.25 * (len(values) - 1)
    below, above = ordered[int(position)], ordered[min(int(position) + 1, len(values) - 1)]
    assert quartiles.low == pytest.approx(below + (position - int(position)) * (above - below))


@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(0.1, 10))
def test_a_workload_that_is_always_as_many_times_slower_has_that_ratio_whatever_the_machine_does(values, times):
    ratio = ratios([times * value for value in values], values)
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((times, times, times))


def test_what_a_step_costs_besides_lowers_the_ratio():
    assert ratios([4.0, 4.0], [1.0, 1.0], extra=1.0).median == 2.0


def test_a_burst_that_hits_one_step_moves_no_median():
    time = Clock()
    workloads = {
        "dense": time.work("dense", [2.0] * 11),
        "sparse": time.work("sparse", [1.0] * 5 + [500.0] + [1.0] * 5),
    }
    seconds = time_interleaved(workloads, 9, time, warm=2)
    assert ratios(seconds["dense"], seconds["sparse"]).median == 2.0


def test_the_clock_of_a_cpu_goes_forward():
    now = clock(torch.device("cpu"))
    assert now() <= now()


def test_the_clock_of_a_gpu_waits_for_it(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    clock(torch.device("cuda"))()
    assert waited == [torch.device("cuda")]
