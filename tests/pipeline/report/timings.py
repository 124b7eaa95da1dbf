"""Made-up timings for the tests of the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd

from pipeline.report.analysis.evidence import Evidence
from pipeline.report.analysis.plan import Method, Plan

FACTS = {
    "reason": None,
    "skipped": {"topk": "`mask: topk` ranks the features of every token"},
    "machine": {"device": "A processor", "cores": 2, "threads": 1, "python": "3.11", "torch": "2.13", "triton": None},
    "dtype": "float32",
    "weights_mb": 232.0,
    "cache_mb": 33.6,
    "steps": 32,
    "answer_tokens": 128,
    "dense": [
        {
            "batch": 1,
            "context": 128,
            "ms": {"eager": 10.5, "unmasked": 10.0},
            "chosen": "unmasked",
            "failed": {"compiled": "no compiler"},
        }
    ],
}


def timed(
    plan: Plan,
    evidence: Evidence,
    speedup: Callable[[Method, float], float] = lambda _method, target: 1 / (1 - 0.8 * target),
    cells: tuple[tuple[int, int], ...] = ((1, 128), (4, 1024)),
) -> Evidence:
    """The evidence with a timing of every sparse method at every target; quartiles are 5% away."""
    rows = [
        _row(method, target, batch, context, speedup(method, target) / batch**0.25)
        for method in plan.sparse
        for target in plan.targets
        for batch, context in cells
    ]
    return replace(evidence, timings=pd.DataFrame(rows), latency_facts=FACTS)


def _row(method: Method, target: float, batch: int, context: int, speedup: float) -> dict[str, object]:
    dense = 10.0 + batch
    router = 0.4 if method.is_routed else 0.0
    ms = dense / speedup
    return {
        "method": method.name, "target": target, "batch": batch, "context": context, "backend": "numba",
        "way": "eager", "step_ms": ms - router / 128, "step_ms_low": 0.95 * ms, "step_ms_high": 1.05 * ms,
        "router_ms": router, "ms_per_token": ms, "tokens_per_second": 1e3 * batch / ms,
        "dense_way": "unmasked" if batch > 1 else "compiled",
        "dense_ms": dense, "dense_ms_low": 0.95 * dense, "dense_ms_high": 1.05 * dense,
        "speedup": speedup, "speedup_low": 0.95 * speedup, "speedup_high": 1.05 * speedup,
        "skipped": target, "bytes_moved": 1e8 * (1 - target), "dense_bytes": 1e8,
        "kernel_gb_per_second": 15.0, "copy_gb_per_second": 20.0, "load": 0.5, "device": "A processor",
    }  # fmt: skip
