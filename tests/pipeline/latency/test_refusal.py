"""`pipeline.latency.refusal`: nothing is timed where no backend can win, and the reason is in the words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.latency.refusal import TIMES_THE_CACHE, able, why_not_timed

CACHE = 1_000_000


def _why(device: str = "cpu", dtype: torch.dtype = torch.float32, batch: int = 1, **sizes: int | None) -> str | None:
    return why_not_timed(device, dtype, batch, **{"weights": 10 * CACHE, "cache": CACHE, **sizes})


def test_float32_on_a_cpu_is_timed_when_its_weights_are_large_enough():
    assert able("cpu", torch.float32, 8) == ["numba"]
    assert _why(weights=TIMES_THE_CACHE * CACHE) is None


def test_weights_that_a_cache_may_hold_are_not_timed():
    reason = _why(weights=TIMES_THE_CACHE * CACHE - 4)
    assert reason is not None and "2 MB, are less than 2 times the last-level cache, 1 MB" in reason


def test_a_dtype_without_a_backend_is_refused_with_what_each_needs():
    reason = _why(dtype=torch.float16)
    assert reason is not None and "no backend that skips weights runs float16 on the CPU" in reason
    assert "numba needs float32" in reason and "triton needs" in reason


def test_the_interpreter_of_triton_is_no_backend(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert able("cpu", torch.float16, 1) == []


def test_a_gpu_needs_triton(monkeypatch):
    from wina_amp.decode import backends

    monkeypatch.setattr(backends, "find_spec", lambda _name: None)
    reason = _why("cuda", torch.bfloat16)
    assert reason is not None and "on the GPU" in reason and "the package `triton`" in reason
    monkeypatch.setattr(backends, "find_spec", lambda _name: object())
    assert _why("cuda", torch.bfloat16) is None and able("cuda", torch.bfloat16, 8) == ["triton"]


def test_more_sequences_than_a_backend_takes_are_refused():
    assert "1 to 8 tokens per call" in str(_why(batch=9))


def test_an_unknown_cache_is_a_reason_that_names_the_setting():
    assert "`latency.cache_mb`" in str(_why(cache=None))


def test_batches_of_the_settings_are_those_that_backends_take():
    from pipeline.config.params import load
    from wina_amp.decode.masked_projections import MOST_TOKENS

    latency = load().latency
    assert replace(latency, batches=(MOST_TOKENS,))
    with pytest.raises(ValueError, match="batches"):
        replace(latency, batches=(MOST_TOKENS + 1,))
