"""`pipeline.protocol.power`: so many items find so large a difference as often as promised."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.protocol.power import discordance_of, items_needed, points_found


def test_a_point_at_a_discordance_takes_78_500_times_it() -> None:
    for discordance in (0.04, 0.15):
        assert items_needed(discordance, 1.0) == pytest.approx(78_500 * discordance, rel=1e-3)


@pytest.mark.parametrize(("discordance", "points"), [(0.04, 1.0), (0.15, 2.0)])
def test_that_many_items_find_the_difference_four_times_of_five(discordance: float, points: float) -> None:
    """2,000 comparisons: the standard error of 0.8 is 0.009, three of them are allowed."""
    rng, items = np.random.default_rng(0), items_needed(discordance, points)
    gain = points / 100
    better, worse = rng.multinomial(
        items, [(discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance], 2000
    ).T[:2]
    mean = (better - worse) / items
    error = np.sqrt(((better + worse) / items - mean**2) / items)
    assert np.mean(mean / error > 1.959964) == pytest.approx(0.8, abs=0.027)


def test_items_and_points_are_two_ways_to_say_one_thing() -> None:
    for items in (896, 5376):
        assert items_needed(0.15, points_found(0.15, items)) == pytest.approx(items, abs=1)


def test_discordance_is_the_fraction_of_items_where_one_is_right() -> None:
    assert discordance_of(np.array([1.0, 1, 0, 0]), np.array([1.0, 0, 0, 1])) == 0.5


def test_a_difference_that_no_discordance_allows_is_refused() -> None:
    for discordance, points in ((0.0, 1.0), (0.01, 2.0), (0.1, 0.0)):
        with pytest.raises(ValueError, match="points must lie above 0"):
            items_needed(discordance, points)
