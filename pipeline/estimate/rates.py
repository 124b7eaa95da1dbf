"""How fast this machine is now: three numbers, measured in about a second.

The matrix is as wide as the model, at most `_WIDEST`: a narrow model reaches fewer operations per second.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

_WIDEST = 4096
_TOKENS = 1024
_SECONDS = 0.3
"""For each number."""


@dataclass(frozen=True)
class Rates:
    """A machine.

    Attributes:
        flops: operations per second of a product of matrices.
        bandwidth: bytes of weights per second of a product of a matrix and a vector.
        dispatch: seconds that one small operation takes, however small.
        device: what was measured.
    """

    flops: float
    bandwidth: float
    dispatch: float
    device: str


def measure(hidden: int, inner: int, dtype: torch.dtype, device: torch.device) -> Rates:
    """Measure with a matrix `[inner, hidden]`, both at most `_WIDEST`, in `dtype` on `device`; weights are random."""
    rows, columns = min(inner, _WIDEST), min(hidden, _WIDEST)
    weight = torch.randn(rows, columns, device=device).to(dtype)
    tokens = torch.randn(_TOKENS, columns, device=device).to(dtype)
    one = tokens[:1].clone()
    with torch.inference_mode():
        many = _seconds(lambda: torch.nn.functional.linear(tokens, weight), device)
        single = _seconds(lambda: torch.nn.functional.linear(one, weight), device)
        small = _seconds(lambda: one.neg(), device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, threads: {torch.get_num_threads()}"
    operations = 2.0 * _TOKENS * weight.numel()
    return Rates(operations / many, weight.numel() * weight.element_size() / single, small, name)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one undisturbed call: the best mean of four calls within `_SECONDS`, after one that does not count."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    work()
    wait()
    best, end = math.inf, time.perf_counter() + _SECONDS
    while best == math.inf or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(4):
            work()
        wait()
        best = min(best, (time.perf_counter() - began) / 4)
    return best
