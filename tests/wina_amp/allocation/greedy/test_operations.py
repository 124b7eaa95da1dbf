"""`wina_amp.allocation.greedy.operations`: the products that a search really asks for, counted choice by choice."""

from __future__ import annotations

import pytest

from wina_amp.allocation.greedy.operations import LAZY, operations
from wina_amp.allocation.greedy.search import search, sparsity_grids

LINEARS = [("qkv", 64), ("qkv", 32), ("qkv", 32), ("o", 64), ("gate_up", 192), ("gate_up", 192), ("down", 192)]


def test_operations_are_those_of_the_products_that_the_search_asks_for():
    """A search whose errors keep every projection in play, its choices costed one by one."""
    tokens, step, stop = 6, 0.25, 0.15
    costs = [weights for _, weights in LINEARS]
    asked: list[tuple[int, ...]] = []

    class Recorded:
        def errors(self, choices: list[tuple[int, ...]]) -> list[float]:
            asked.extend(choices)
            return [float(max(choice)) for choice in choices]  # the most even choice wins

    path = search(sparsity_grids(costs, step), costs, stop, Recorded())
    rounds = len(path.mean) - 1
    count = 0
    for stepped, stepped_weights in LINEARS:
        if stepped == "qkv":
            count += sum(2 * 4 * tokens * weights for site, weights in LINEARS if site == "qkv")
        if stepped in ("qkv", "o"):
            count += sum(2 * tokens * weights for site, weights in LINEARS if site in ("o", "gate_up"))
        if stepped == "gate_up":
            count += 2 * tokens * stepped_weights
        count += 2 * tokens * LINEARS[-1][1]
    assert len(asked) - 1 == rounds * len(LINEARS)
    exact = operations(LINEARS, stop=stop, step=step, tokens=tokens, is_lazy=False)
    assert exact == rounds * count
    assert operations(LINEARS, stop=stop, step=step, tokens=tokens, is_lazy=True) == pytest.approx(LAZY * exact)
