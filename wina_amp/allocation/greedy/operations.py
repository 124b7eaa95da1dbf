"""Operations of the greedy search, counted from shapes before it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from wina_amp.allocation.calibration.texts import MEASURED_FRACTION

LAZY = 0.6
"""The lazy search's time over the exact one's: 0.55 to 0.62 (docs/performance.md, steps of 0.025 to 0.25)."""


def operations(linears: Sequence[tuple[str, int]], *, stop: float, step: float, tokens: int, is_lazy: bool) -> float:
    """Operations of the products of one block's search, for one group.

    Every round tries one step on every projection that has one left; here all of them have one until the end, so this
    is the most. A step on q, k or v runs them all again, on all tokens, and everything behind on the measured ones; a
    step on o everything behind it; a step on gate or up that one and down.

    Args:
        linears: mask site and weights of every projection of a block.
        stop: the highest target.
        step: sparsity of the first projection's step.
        tokens: measured tokens.
        is_lazy: whether rounds try the likely steps only.
    """
    weights = {name: sum(size for site, size in linears if site == name) for name in ("qkv", "o", "gate_up", "down")}
    behind = weights["o"] + weights["gate_up"] + weights["down"]
    tried = {"qkv": weights["qkv"] / MEASURED_FRACTION + behind, "o": behind, "down": weights["down"]}
    products = sum(size + weights["down"] if site == "gate_up" else tried[site] for site, size in linears)
    rounds = math.ceil(stop * sum(weights.values()) / (step * linears[0][1]))
    return 2.0 * rounds * tokens * products * (LAZY if is_lazy else 1.0)
