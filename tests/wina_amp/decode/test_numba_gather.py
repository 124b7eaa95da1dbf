"""`wina_amp.decode.numba_gather`: kept weights are all that is read, however they are stored; bits depend neither on
threads nor on the batch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from tests.wina_amp.decode.products import SHAPES, case, product
from wina_amp.decode.masked_projections import MaskedProjection
from wina_amp.decode.numba_gather import Gather
from wina_amp.decode.packed_weights import pack, unpacked
from wina_amp.names import Weights

TOLERANCE = 1e-5
"""Of the output's RMS: sums in sequence over at most 1,040 inputs err by less than their root times 6e-8."""


STORED: tuple[Weights, ...] = ("copy", "bfloat16")


@pytest.mark.parametrize("density", ["all", "none", "some", "mixed"])
@pytest.mark.parametrize("tokens", [1, 2, 5, 8])
def test_products_equal_the_transcription(tokens: int, density: str):
    for inputs, outputs in SHAPES:
        given = case(inputs, outputs, tokens, torch.float32, density)
        for weights in STORED:  # both hold small whole numbers
            (y,) = Gather([MaskedProjection(given.weight, None, given.cutoffs, weights)])(given.x, given.groups)
            assert torch.equal(y.double(), product(given, bias=False))


def _random(tokens: int, inputs: int = 1000, outputs: tuple[int, ...] = (333, 70), weights: Weights = "copy"):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(tokens, inputs, generator=draw)
    every = [
        MaskedProjection(
            torch.randn(size, inputs, generator=draw),
            torch.randn(size, generator=draw),
            torch.rand(3, inputs, generator=draw),
            weights,
        )
        for size in outputs
    ]
    return every, x, torch.arange(tokens) % 3


@pytest.mark.parametrize("weights", STORED)
def test_random_products_are_those_of_the_stored_weights_up_to_the_tolerance(weights: Weights):
    every, x, groups = _random(8, weights=weights)
    for y, masked in zip(Gather(every)(x, groups), every, strict=True):
        kept = torch.where(x.abs() <= masked.cutoffs[groups], 0.0, x).double()
        wanted = kept @ unpacked(pack(masked.weight, weights)).double().t() + masked.bias
        assert (y.double() - wanted).abs().max() < TOLERANCE * wanted.pow(2).mean().sqrt()


@pytest.mark.parametrize("weights", STORED)
def test_any_number_of_threads_gives_the_same_bits(weights: Weights):
    every, x, groups = _random(3, weights=weights)
    gather = Gather(every)
    alone = gather(x, groups, threads=1)
    for threads in (2, 3, 7, 100):
        assert all(torch.equal(y, own) for y, own in zip(gather(x, groups, threads=threads), alone, strict=True))


@pytest.mark.parametrize("weights", STORED)
def test_a_token_has_the_same_bits_alone_and_in_any_batch(weights: Weights):
    every, x, groups = _random(8, weights=weights)
    gather = Gather(every)
    together = gather(x, groups)
    for token in range(8):
        alone = gather(x[token : token + 1], groups[token : token + 1])
        assert all(torch.equal(y[token], own[0]) for y, own in zip(together, alone, strict=True))


def test_the_weights_of_masked_inputs_are_not_read():
    """A NaN in a weight would reach the sum through any number, zero included."""
    (masked,), x, groups = _random(2, outputs=(333,))
    is_kept = (x.abs() > masked.cutoffs[groups]).any(dim=0)
    poisoned = replace(masked, weight=torch.where(is_kept, masked.weight, torch.nan))
    assert (~is_kept).sum() > 100
    assert torch.equal(Gather([poisoned])(x, groups)[0], Gather([masked])(x, groups)[0])


def test_inputs_that_are_not_contiguous_give_the_same_bits():
    every, x, groups = _random(4)
    strided = torch.stack([x, x], dim=-1)[..., 0]
    gather = Gather(every)
    assert torch.equal(gather(strided, groups)[0], gather(x, groups)[0])


def test_a_bfloat16_model_is_summed_in_float32_and_rounded_once():
    every, x, groups = _random(2, outputs=(64,))
    half = [replace(masked, weight=masked.weight.bfloat16(), bias=masked.bias.bfloat16()) for masked in every]
    full = [replace(masked, weight=masked.weight.float(), bias=masked.bias.float()) for masked in half]
    (y,) = Gather(half)(x.bfloat16(), groups)
    assert torch.equal(y, Gather(full)(x.bfloat16().float(), groups)[0].bfloat16())


def test_torch_keeps_its_number_of_threads():
    """numba sets OpenMP's when it starts its own, so the first call is what matters: a process of its own."""
    program = """
import torch
torch.set_num_threads(1)
from wina_amp.decode.masked_projections import MaskedProjection
from wina_amp.decode.numba_gather import Gather
gather = Gather([MaskedProjection(torch.ones(4, 4), None, torch.zeros(1, 4))])
gather(torch.ones(1, 4), torch.zeros(1, dtype=torch.int64))
assert torch.get_num_threads() == 1, torch.get_num_threads()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
