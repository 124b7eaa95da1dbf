"""`pipeline.latency.turns` under a clock that the test moves: who runs when, what counts, and what is made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.latency.turns import clock, ratios, spread, take_turns

SECONDS = st.floats(1e-6, 1e3)


class Clock:
    """Time passes only when somebody works."""

    def __init__(self) -> None:
        self.now, self.runs = 0.0, []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: list[float]):
        """Work that takes the next of some seconds each time."""
        left = iter(seconds)

        def run() -> None:
            self.runs.append(name)
            self.now += next(left)

        return run


def test_sides_alternate_swap_their_order_and_warm_rounds_do_not_count():
    time = Clock()
    sides = {"a": time.work("a", [9, 8, 1, 2, 3]), "b": time.work("b", [7, 7, 4, 5, 6])}
    assert take_turns(sides, 3, time, warm=2) == {"a": [1, 2, 3], "b": [4, 5, 6]}
    assert "".join(time.runs) == "abbaabbaab"


@given(st.lists(SECONDS, min_size=1, max_size=40))
def test_a_spread_is_median_and_quartiles_in_order(values: list[float]):
    found = spread(values)
    assert min(values) <= found.low <= found.median <= found.high <= max(values)
    assert found.median == pytest.approx(np.median(values))
    ordered, place = sorted(values), 0.25 * (len(values) - 1)
    below, above = ordered[int(place)], ordered[min(int(place) + 1, len(values) - 1)]
    assert found.low == pytest.approx(below + (place - int(place)) * (above - below))


@given(st.lists(SECONDS, min_size=1, max_size=40), st.floats(0.1, 10))
def test_a_side_that_is_always_as_many_times_slower_has_that_ratio_whatever_the_machine_does(values, times):
    found = ratios([times * value for value in values], values)
    assert (found.low, found.median, found.high) == pytest.approx((times, times, times))


def test_what_a_step_costs_besides_lowers_the_ratio():
    assert ratios([4.0, 4.0], [1.0, 1.0], extra=1.0).median == 2.0


def test_a_burst_that_hits_one_step_moves_no_median():
    time = Clock()
    sides = {"dense": time.work("dense", [2.0] * 11), "sparse": time.work("sparse", [1.0] * 5 + [500.0] + [1.0] * 5)}
    seconds = take_turns(sides, 9, time, warm=2)
    assert ratios(seconds["dense"], seconds["sparse"]).median == 2.0


def test_the_clock_of_a_cpu_goes_forward():
    now = clock(torch.device("cpu"))
    assert now() <= now()


def test_the_clock_of_a_gpu_waits_for_it(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    clock(torch.device("cuda"))()
    assert waited == [torch.device("cuda")]
