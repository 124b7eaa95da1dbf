"""`wina_amp.capture.accumulate` and `wina_amp.capture.triton_accumulate`: all backends and the transcription count
the same.

Without a GPU the Triton kernels run in Triton's interpreter, where Triton is installed (`make kernels`).
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from tests.reference import capture as reference
from wina_amp.capture import accumulate as module
from wina_amp.capture.accumulate import Totals, accumulate, accumulate_tensors
from wina_amp.histograms.bins import Bins

FLOAT32_SUM = 1e-6
"""Relative rounding of a float32 sum of at most some tens of magnitudes."""

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
NO_TRITON = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed (`make kernels`)")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SPECIAL = [0.0, -0.0, 1e-45, -1e-40, 1e-38, 2.0**-40, 2.0**-41, 2.0**24, 1e37, -3.0]


def triton(*tensors, blocks=None):
    """`accumulate_triton`, on a GPU or in the interpreter, where NumPy would warn of overflowing scores."""
    from wina_amp.capture.triton_accumulate import accumulate_triton

    with np.errstate(over="ignore", invalid="ignore"):
        accumulate_triton(*tensors, blocks=blocks)


FUNCTIONS = [accumulate, accumulate_tensors, pytest.param(triton, marks=NO_TRITON)]


def _case(tokens, features, scorings, dtype=torch.float32):
    """Random activations over many octaves, zeros and extremes among them; some tokens belong nowhere."""
    generator = np.random.default_rng([tokens, features, scorings])
    values = generator.standard_normal((tokens, features)) * np.exp2(generator.integers(-44, 28, (tokens, features)))
    flat = values.reshape(-1)
    flat[: min(flat.size, len(SPECIAL))] = SPECIAL[: flat.size]
    weights = np.concatenate([np.ones((1, features)), generator.uniform(0.1, 3, (scorings - 1, features))])
    return (
        torch.from_numpy(values).to(dtype),
        torch.from_numpy(weights).float(),
        torch.from_numpy(generator.integers(-1, 3, tokens)),
        torch.from_numpy(generator.integers(-1, 4, tokens)),
    )


def _run(function, bins, x, weights, segment, sum_segment, device="cpu"):
    totals = Totals.zeros(bins, weights.to(device), 3, 4)
    function(x.to(device), segment.to(device), sum_segment.to(device), totals)
    return totals.counts.cpu(), totals.broken.cpu(), totals.sums.cpu()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 2), (40, 17, 4), (33, 64, 3)], ids=str)
@pytest.mark.parametrize("mantissa_bits", [0, 4, 8])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_backend_counts_what_the_transcription_counts(function, mantissa_bits, shape, dtype):
    x, weights, segment, sum_segment = _case(*shape, dtype)
    x = torch.where(torch.isfinite(x), x, torch.ones((), dtype=dtype))  # float16 cannot hold the extremes
    if function is triton and dtype == torch.bfloat16 and not torch.cuda.is_available():
        x[x.abs() < torch.finfo(dtype).tiny] = 0  # the interpreter converts subnormal bfloat16 wrongly
    device = DEVICE if function is triton else "cpu"
    counts, broken, sums = _run(function, Bins(mantissa_bits), x, weights, segment, sum_segment, device)
    expected, expected_sums = reference.accumulate(
        x.float().numpy(), weights.numpy(), segment.tolist(), 3, sum_segment.tolist(), 4, mantissa_bits
    )
    assert np.array_equal(counts.numpy(), expected)
    np.testing.assert_allclose(sums.numpy(), expected_sums, rtol=FLOAT32_SUM)
    assert not broken.any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 33, 2), (9, 4100, 2)], ids=str)
@pytest.mark.parametrize("octaves", [0, 1, 8])
@NO_TRITON
def test_block_sizes_and_the_window_change_no_count(octaves, shape):
    """Blocks with more and with fewer features than the activation; windows that hold few scores or most."""
    from wina_amp.capture.triton_accumulate import Blocks

    case = _case(*shape)
    counts, broken, sums = _run(accumulate, Bins(4), *case)
    for blocks in (Blocks(1024, 2, octaves, 4, 128, 2), Blocks(4096, 3, octaves, 8, 32, 64)):
        counted = _run(lambda *tensors, cut=blocks: triton(*tensors, blocks=cut), Bins(4), *case, device=DEVICE)
        assert torch.equal(counted[0], counts) and torch.equal(counted[1], broken)
        torch.testing.assert_close(counted[2], sums, rtol=FLOAT32_SUM, atol=0)


@NO_TRITON
def test_two_runs_of_the_triton_kernels_give_equal_bits():
    case = _case(70, 300, 3)
    first, second = (_run(triton, Bins(4), *case, device=DEVICE) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@NO_TRITON
def test_the_triton_kernels_refuse_counts_they_would_write_beside():
    x, weights, segment, sum_segment = _case(3, 4, 2)
    totals = replace(Totals.zeros(Bins(4), weights, 3, 4), counts=torch.zeros(3, Bins(4).count, 2).int().mT)
    with pytest.raises(ValueError, match="must be contiguous"):
        triton(x, segment, sum_segment, totals)


def test_cuda_devices_count_with_triton_and_without_it_with_tensor_operations(monkeypatch):
    cpu, cuda, other = torch.device("cpu"), torch.device("cuda", 1), torch.device("meta")
    monkeypatch.setattr(module, "_HAS_TRITON", True)
    assert [module.backend(device) for device in (cpu, cuda, other)] == [
        module.COMPILED,
        module.TRITON,
        module.TENSORS,
    ]
    monkeypatch.setattr(module, "_HAS_TRITON", False)
    assert [module.backend(device) for device in (cpu, cuda, other)] == [
        module.COMPILED,
        module.TENSORS,
        module.TENSORS,
    ]


@pytest.mark.parametrize("chosen", [module.TENSORS, pytest.param(module.TRITON, marks=NO_TRITON)])
def test_accumulate_uses_the_backend_that_it_names(chosen, monkeypatch):
    case, met = _case(6, 5, 2), []
    expected = _run(accumulate, Bins(4), *case)
    run = module._BACKENDS[chosen]
    monkeypatch.setitem(module._BACKENDS, chosen, lambda *tensors: met.append(chosen) or run(*tensors))
    monkeypatch.setattr(module, "backend", lambda _device: chosen)
    with np.errstate(over="ignore"):
        counted = _run(accumulate, Bins(4), *case)
    assert met == [chosen]
    assert torch.equal(counted[0], expected[0])


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (40, 17, 4), (257, 96, 3)], ids=str)
def test_tensor_operations_count_exactly_what_the_kernel_counts(shape, device, monkeypatch):
    monkeypatch.setattr("wina_amp.capture.accumulate._SCORES_AT_ONCE", 5000)  # several parts, the last shorter
    case = _case(*shape)
    counts, broken, sums = _run(accumulate, Bins(4), *case)
    other_counts, other_broken, other_sums = _run(accumulate_tensors, Bins(4), *case, device=device)
    assert torch.equal(other_counts, counts)
    assert torch.equal(other_broken, broken)
    torch.testing.assert_close(other_sums, sums, rtol=FLOAT32_SUM, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("bad", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_marks_its_scoring(bad, function, device):
    x, weights, segment, sum_segment = _case(9, 5, 2)
    segment[:] = 1
    x[4, 3] = bad
    weights[1, 3] = 0.0  # infinity times zero is NaN, with the sign bit set on some processors
    _, broken, _ = _run(function, Bins(4), x, weights, segment, sum_segment, device)
    assert broken.tolist() == [1, 1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_only_the_scoring_that_overflows_is_marked(function):
    x, weights, segment, sum_segment = _case(9, 5, 2)
    x[:], segment[:] = 2.0**100, 0
    weights[1, 0] = 2.0**60
    assert _run(function, Bins(4), x, weights, segment, sum_segment)[1].tolist() == [0, 1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_tokens_that_belong_nowhere_are_ignored_even_if_they_are_nan(function):
    x, weights, segment, sum_segment = _case(20, 6, 2)
    segment[5:], sum_segment[5:] = -1, -1
    expected = _run(function, Bins(4), x, weights, segment, sum_segment)
    x[5:] = float("nan")
    counted = _run(function, Bins(4), x, weights, segment, sum_segment)
    assert all(torch.equal(ours, wanted) for ours, wanted in zip(counted, expected, strict=True))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_counts_of_halves_add_up_to_the_counts_of_the_whole(function):
    x, weights, segment, sum_segment = _case(60, 8, 3)
    whole = _run(function, Bins(4), x, weights, segment, sum_segment)
    halves = [_run(function, Bins(4), x[p], weights, segment[p], sum_segment[p]) for p in (slice(31), slice(31, 60))]
    assert torch.equal(halves[0][0] + halves[1][0], whole[0])
    assert int(whole[0].sum()) == int((segment >= 0).sum()) * 8 * 3


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_histogram_rows_leave_only_the_profile(function):
    x, weights, _, sum_segment = _case(12, 4, 2)
    nowhere = torch.full((12,), -1)
    totals = Totals.zeros(Bins(4), weights, 0, 4)
    function(x, nowhere, sum_segment, totals)
    assert totals.sums.sum() > 0


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_sum_rows_leave_only_the_counts(function):
    x, weights, segment, _ = _case(12, 4, 2)
    nowhere = torch.full((12,), -1)
    totals = Totals.zeros(Bins(4), weights, 3, 0)
    function(x, segment, nowhere, totals)
    assert int(totals.counts.sum()) == int((segment >= 0).sum()) * 4 * 2
