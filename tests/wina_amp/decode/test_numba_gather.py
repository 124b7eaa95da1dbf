"""`wina_amp.decode.numba_gather`: kept weights are all that is read, and bits depend neither on threads nor on the
batch."""

from __future__ import annotations

import subprocess
import sys

import torch

from wina_amp.decode.numba_gather import linear

TOLERANCE = 1e-5
"""Of the output's RMS: sums in sequence over at most 1,040 inputs err by less than their root times 6e-8."""


def test_bfloat16_weights_give_the_bits_of_the_same_numbers_in_float32():
    x, weight, cutoffs, groups = _random(8)
    half = weight.bfloat16()
    assert torch.equal(linear(x, half, cutoffs, groups), linear(x, half.float(), cutoffs, groups))
    assert not torch.equal(half.float(), weight)


def _random(tokens: int, inputs: int = 1000, outputs: int = 333):
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(tokens, inputs, generator=draw), torch.randn(inputs, outputs, generator=draw)
    return x, weight, torch.rand(3, inputs, generator=draw), torch.arange(tokens) % 3


def test_any_number_of_threads_gives_the_same_bits():
    given = _random(3)
    alone = linear(*given, threads=1)
    for threads in (2, 3, 7, 100):
        assert torch.equal(linear(*given, threads=threads), alone)


def test_a_token_has_the_same_bits_alone_and_in_any_batch():
    x, weight, cutoffs, groups = _random(8)
    together = linear(x, weight, cutoffs, groups)
    for token in range(8):
        alone = linear(x[token : token + 1], weight, cutoffs, groups[token : token + 1])
        assert torch.equal(together[token], alone[0])


def test_random_numbers_are_rounded_no_worse_than_the_tolerance():
    x, weight, cutoffs, groups = _random(8)
    masked = torch.where(x.abs() <= cutoffs[groups], 0.0, x).double()
    wanted = masked @ weight.double()
    error = (linear(x, weight, cutoffs, groups).double() - wanted).abs().max()
    assert error < TOLERANCE * wanted.pow(2).mean().sqrt()


def test_the_weights_of_masked_inputs_are_not_read():
    """A NaN in a weight would reach the sum through any number, zero included."""
    x, weight, cutoffs, groups = _random(2)
    is_kept = (x.abs() > cutoffs[groups]).any(dim=0)
    poisoned = torch.where(is_kept[:, None], weight, torch.nan)
    assert (~is_kept).sum() > 100
    assert torch.equal(linear(x, poisoned, cutoffs, groups), linear(x, weight, cutoffs, groups))


def test_inputs_that_are_not_contiguous_give_the_same_bits():
    x, weight, cutoffs, groups = _random(4)
    strided = torch.stack([x, x], dim=-1)[..., 0]
    assert torch.equal(linear(strided, weight, cutoffs, groups), linear(x, weight, cutoffs, groups))


def test_torch_keeps_its_number_of_threads():
    """numba sets OpenMP's when it starts its own, so the first call is what matters: a process of its own."""
    program = """
import torch
torch.set_num_threads(1)
from wina_amp.decode.numba_gather import linear
linear(torch.ones(1, 4), torch.ones(4, 4), torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64))
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
