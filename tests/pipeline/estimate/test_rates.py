"""`pipeline.estimate.rates`: figures of this machine, taken in about a second."""

from __future__ import annotations

import time

import pytest
import torch

from pipeline.estimate.rates import measure


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rates_are_measured_in_seconds_and_a_product_is_faster_than_its_small_operations(dtype: torch.dtype):
    began = time.perf_counter()
    found = measure(64, 192, dtype, torch.device("cpu"))
    assert time.perf_counter() - began < 10
    assert found.flops > 1e6 and found.bandwidth > 1e6 and 0 < found.dispatch < 0.1
    assert found.device.startswith("CPU")
