"""Refuse to time sparse decoding where it cannot win; the reason is reported instead.

It cannot win in two cases. No backend that skips the weights of masked inputs runs the model's dtype on its device. Or
the weights fit the last-level cache: a step reads every weight once, so a dense step would be fed by the cache and not
by memory, and its time would say nothing about a model that does not fit. Dense and sparse steps alternate on two
copies of the weights (input-major for the sparse one), which evict each other from a cache that would have held one.
So the weights that masks act on must be at least `TIMES_THE_CACHE` times the last-level cache.
"""

from __future__ import annotations

import torch

from wina_amp.decode.backends import BACKENDS, Call

TIMES_THE_CACHE = 2

NO_SAVING = ("reference",)
"""Backends that read every weight."""


def able(device: str, dtype: torch.dtype, batch: int) -> list[str]:
    """Names of the backends that skip weights and run steps of so many sequences on `cpu` or `cuda`, best first."""
    return [name for name, reason in _refusals(device, dtype, batch).items() if reason is None]


def why_not_timed(device: str, dtype: torch.dtype, batch: int, *, weights: int, cache: int | None) -> str | None:
    """The reason why nothing is timed, as the end of a sentence; None if sparse decoding can win.

    Args:
        device, dtype, batch: see `able`.
        weights: bytes of the weights that masks act on.
        cache: bytes of the last-level cache; None: unknown.
    """
    if not able(device, dtype, batch):
        needs = "; ".join(f"{name} needs {reason}" for name, reason in _refusals(device, dtype, batch).items())
        return (
            f"no backend that skips weights runs {str(dtype).removeprefix('torch.')} on {_NAMES.get(device, device)} "
            f"({needs})"
        )
    if cache is None:
        return "the machine does not say how large its last-level cache is; set `latency.cache_mb`"
    if weights < TIMES_THE_CACHE * cache:
        return (
            f"the weights that masks act on, {_megabytes(weights)}, are less than {TIMES_THE_CACHE} times the "
            f"last-level cache, {_megabytes(cache)}: a dense step would read them from the cache, where skipping some "
            "saves little, and its time would say nothing about a larger model"
        )
    return None


def _refusals(device: str, dtype: torch.dtype, batch: int) -> dict[str, str | None]:
    refusals: dict[str, str | None] = {}
    for name, row in BACKENDS.items():
        if name in NO_SAVING:
            continue
        reason = row.refusal(Call(device, dtype, batch))
        # Triton's interpreter runs kernels on the CPU, for tests of their results.
        refusals[name] = "a CUDA device" if reason is None and name == "triton" and device != "cuda" else reason
    return refusals


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"


_NAMES = {"cpu": "the CPU", "cuda": "the GPU"}
