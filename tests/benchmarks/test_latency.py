"""`benchmarks.latency` runs, and prints a line for every way, sparsity, batch and context."""

from __future__ import annotations

from argparse import Namespace

from benchmarks.latency import lines
from pipeline.latency import steps


def test_a_line_for_every_cell(monkeypatch):
    monkeypatch.setitem(steps.DENSE_WAYS, "cpu", ("eager",))
    options = Namespace(
        blocks=1, hidden=128, intermediate=128, sparsities=[0.0, 0.5], batches=[1, 2], contexts=[6], steps=4, threads=1
    )
    _machine, *rest = lines(options)
    assert [line.split(",")[0] for line in rest[:2]] == ["dense"] * 2 and "unmasked" in rest[0]
    assert [line.split(":")[0] for line in rest[2:]] == [
        f"sparsity {sparsity}, batch {batch}, context 6" for sparsity in ("0.00", "0.50") for batch in (1, 2)
    ]
