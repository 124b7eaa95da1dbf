"""`wina_amp.allocation.loss.answers`: which positions are read, and the derivative of their divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.wina_amp.allocation.blocks import random_model
from wina_amp.allocation.loss.answers import POSITIONS, answer_batch, kl_divergence, positions_of
from wina_amp.tokens.samples import TokenizedSample

ROUNDING = 1e-5
"""Of float32 logarithms and sums over the vocabulary."""


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(1, 70)), min_size=1, max_size=4))
def test_all_positions_of_short_answers_are_read_and_so_many_evenly_spaced_ones_of_long_answers(lengths):
    texts = [TokenizedSample(str(n), [5] * prompt, [6] * answer) for n, (prompt, answer) in enumerate(lengths)]
    batch = answer_batch(texts, 1, torch.device("cpu"))
    for row, (text, (prompt, answer)) in enumerate(zip(texts, lengths, strict=True)):
        read = np.flatnonzero(batch.positions[row].numpy())
        assert len(read) == positions_of(text) == (batch.owners == row).sum()
        assert read[0] == prompt - 1 and read[-1] < prompt - 1 + answer
        if answer <= POSITIONS:
            assert read.tolist() == list(range(prompt - 1, prompt - 1 + answer))
        else:  # the slow rule: place k is the first whose part of the answer, in sixteenths, reaches k
            slow = [min(j for j in range(answer) if j * POSITIONS >= k * answer) for k in range(POSITIONS)]
            assert (read - (prompt - 1)).tolist() == slow
            assert np.ptp(np.diff(read)) <= 1


@pytest.mark.parametrize("rows", [1, 7, 513])
def test_the_derivative_is_that_of_the_equation_part_by_part(rows: int):
    loaded = random_model("llama")
    head = loaded.model.get_output_embeddings()
    generator = torch.Generator().manual_seed(0)
    dense, masked = (torch.randn(rows, head.weight.shape[1], generator=generator) for _ in range(2))
    weights = torch.rand(rows, generator=generator)
    slow = masked.clone().double().requires_grad_()
    p, q = (torch.log_softmax(hidden.double() @ head.weight.double().T, dim=-1) for hidden in (dense, slow))
    expected = (p.exp() * (p - q)).sum(dim=-1)
    (expected * weights).sum().backward()
    fast = masked.clone().requires_grad_()
    losses = kl_divergence(loaded, dense, fast)
    (losses * weights).sum().backward()
    torch.testing.assert_close(losses.double(), expected, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(fast.grad.double(), slow.grad, rtol=ROUNDING, atol=ROUNDING)
    with torch.inference_mode():
        assert torch.equal(kl_divergence(loaded, dense, masked), losses.detach())
