"""How many items a paired comparison needs, from how often two methods disagree.

Two methods that are right or wrong on the same items differ by p+ - p-, the fractions where only the one and only the
other is right; p+ + p- is their discordance. An item's difference has the variance discordance - (p+ - p-)^2, which for
small differences is the discordance, so that

    n = (z(1 - alpha / 2) + z(power))^2 discordance / difference^2

items are enough to find a difference with a probability of `POWER`, by a two-sided test at alpha = 1 - `CONFIDENCE`. It
counts items of one fit: units and refits come on top (`pipeline/statistics/refits.py`), and no number of items makes up
for them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

POWER, CONFIDENCE = 0.8, 0.95

_QUANTILES = float(ndtri((1 + CONFIDENCE) / 2) + ndtri(POWER))


def items_needed(discordance: float, points: float) -> int:
    """Items that are enough to find a difference of so many points.

    Raises:
        ValueError: a discordance outside (0, 1], a difference that is not above 0 or exceeds the discordance.
    """
    if not (0 < discordance <= 1 and 0 < points <= 100 * discordance):
        raise ValueError(f"points must lie above 0 and at most at 100 discordances; got {points} and {discordance}")
    return math.ceil(_QUANTILES**2 * discordance / (points / 100) ** 2)


def points_found(discordance: float, items: int) -> float:
    """The difference in points that so many items find."""
    return 100 * _QUANTILES * math.sqrt(discordance / items)


def discordance_of(first: Float[np.ndarray, " items"], second: Float[np.ndarray, " items"]) -> float:
    """The fraction of items on which exactly one of two methods is right."""
    return float((first != second).mean())
