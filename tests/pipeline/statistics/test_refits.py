"""`pipeline.statistics.refits`: intervals cover as often as they say, and equal the slow transcription."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import t

from pipeline.statistics.bootstrap import Interval
from pipeline.statistics.refits import refit_intervals, unit_intervals

COUNTS = {"refits": 3, "units": 10, "items": 20}
"""Refits, units, and items of a unit: those of the embedded experiment, with fewer items."""


def drawn(
    rng: np.random.Generator, of_refits: float, of_units: float, of_both: float, of_items: float = 3.0
) -> tuple[np.ndarray, np.ndarray]:
    """Differences with mean 0 and these standard deviations of their parts, and their units."""
    refits, units, items = COUNTS.values()
    total = (
        of_refits * rng.normal(size=(refits, 1, 1))
        + of_units * rng.normal(size=(1, units, 1))
        + of_both * rng.normal(size=(refits, units, 1))
        + of_items * rng.normal(size=(1, units, items))
        + of_items * rng.normal(size=(refits, units, items))
    )
    return total.reshape(refits, -1), np.repeat(np.arange(units), items)


def coverage(*parts: float, name: str = "all", simulations: int = 600) -> float:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(simulations):
        interval: Interval = getattr(refit_intervals(*drawn(rng, *parts), 0.95), name)
        hits += interval.low <= 0 <= interval.high
    return hits / simulations


# The standard error of 600 simulations at 0.95 is 0.009; three of them are allowed below.
@pytest.mark.parametrize(
    "parts",
    [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 0.0), (0.5, 1.5, 1.0), (1.0, 0.2, 0.5)],
    ids=["items alone", "refits", "units", "refits and units", "all, and both together", "refits most"],
)
def test_the_interval_over_everything_covers_at_least_as_often_as_it_says(parts: tuple[float, float, float]) -> None:
    assert coverage(*parts) > 0.95 - 0.027


def test_intervals_that_leave_a_part_out_cover_too_rarely_where_that_part_is_large() -> None:
    assert coverage(1.5, 0.0, 0.0, name="units") < 0.8
    assert coverage(0.0, 1.5, 0.0, name="items") < 0.8
    assert coverage(0.0, 1.5, 0.0, name="refits") < 0.9


def test_they_equal_sums_written_out_one_by_one() -> None:
    values, units = drawn(np.random.default_rng(1), 1.0, 1.0, 1.0)
    values, units = values[:, :-7], units[:-7]  # units of unequal size
    n, mean = values.shape[1], values.mean()
    over_units, over_items = 0.0, 0.0
    for unit in range(10):
        own = [np.mean([values[r, i] for r in range(3)]) for i in range(n) if units[i] == unit]
        over_units += (len(own) / n) ** 2 * (np.mean(own) - mean) ** 2 * 10 / 9
        over_items += (len(own) / n) ** 2 * sum((x - np.mean(own)) ** 2 for x in own) / (len(own) - 1) / len(own)
    over_refits = sum((values[r].mean() - mean) ** 2 for r in range(3)) / 2 / 3
    halves = {
        name: t.ppf(0.95, degrees) * np.sqrt(variance)
        for name, variance, degrees in (
            ("items", over_items, n - 10),
            ("units", over_units, 9),
            ("refits", over_refits, 2),
        )
    }
    halves["all"] = np.hypot(halves["units"], halves["refits"])
    found = refit_intervals(values, units, 0.9)
    for name, half in halves.items():
        interval: Interval = getattr(found, name)
        assert (interval.low, interval.value, interval.high) == pytest.approx((mean - half, mean, mean + half))


def test_two_tasks_of_one_computation_are_one_unit() -> None:
    values, tasks = drawn(np.random.default_rng(2), 0.0, 1.0, 0.0)
    twice = np.concatenate([values, values], axis=1)
    computations = np.concatenate([tasks, tasks])
    first, second = (refit_intervals(v, u, 0.95).units for v, u in ((values, tasks), (twice, computations)))
    assert (first.low, first.high) == pytest.approx((second.low, second.high))
    as_tasks = refit_intervals(twice, np.concatenate([tasks, tasks + 10]), 0.95).units
    assert as_tasks.high - as_tasks.low < 0.75 * (first.high - first.low)


def test_equal_refits_leave_what_items_and_units_say_and_no_difference_is_certain() -> None:
    values, units = drawn(np.random.default_rng(3), 0.0, 1.0, 0.0)
    same = refit_intervals(np.repeat(values[:1], 3, axis=0), units, 0.95)
    assert (same.all.low, same.all.high) == pytest.approx((same.units.low, same.units.high))
    assert same.refits.low == pytest.approx(same.refits.high)
    assert refit_intervals(np.zeros((2, 4)), np.array([0, 0, 1, 1]), 0.95).all == Interval(0, 0, 0)


def test_intervals_of_one_fit_are_those_over_items_and_units_of_equal_refits() -> None:
    values, units = drawn(np.random.default_rng(3), 0.0, 1.0, 0.0)
    one, same = unit_intervals(values[0], units, 0.95), refit_intervals(np.repeat(values[:1], 2, axis=0), units, 0.95)
    for name in ("items", "units"):
        ends = [(own.value, own.low, own.high) for own in (getattr(one, name), getattr(same, name))]
        assert ends[0] == pytest.approx(ends[1])


@pytest.mark.parametrize(("refits", "units"), [*itertools.product([1], [2]), (2, 1)])
def test_one_fit_or_one_unit_cannot_say_how_others_differ(refits: int, units: int) -> None:
    with pytest.raises(ValueError, match=r"at least two (refits|units) are needed; got 1"):
        refit_intervals(np.zeros((refits, 4)), np.arange(4) % units, 0.95)
