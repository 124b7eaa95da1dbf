"""`wina_amp.tokens.halving`: batches by halves where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wina_amp.errors import UserError
from wina_amp.tokens.halving import in_halves, is_out_of_memory


@given(rows=st.lists(st.integers(), min_size=1, max_size=40), room=st.integers(1, 40))
def test_every_row_runs_once_in_order_in_batches_that_fit(rows: list[int], room: int):
    ran: list[list[int]] = []

    def run(part: Sequence[int]) -> list[int]:
        if len(part) > room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        ran.append(list(part))
        return [2 * row for row in part]

    results = [result for part in in_halves(run, rows) for result in part]
    assert results == [2 * row for row in rows] and [row for part in ran for row in part] == rows
    assert max(map(len, ran)) <= room and (len(ran) == 1 or len(rows) > room)


@pytest.mark.tried("memory", "refused")
def test_a_single_sample_that_does_not_fit_is_refused_with_advice():
    def run(part: Sequence[int]) -> None:
        raise MemoryError

    with pytest.raises(UserError, match=r"single sample must fit into memory.*bfloat16.*spread"):
        list(in_halves(run, [1, 2, 3]))


def test_any_other_error_is_passed_on_at_once():
    ran: list[int] = []

    def run(part: Sequence[int]) -> None:
        ran.append(len(part))
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        list(in_halves(run, [1, 2, 3, 4]))
    assert ran == [4]


def test_an_allocation_that_the_cpu_refuses_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60)
    assert is_out_of_memory(caught.value)
