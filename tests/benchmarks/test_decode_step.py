"""`benchmarks.decode_step` runs at small sizes."""

from __future__ import annotations

import sys

from benchmarks import decode_step


def test_it_prints_a_line_per_sparsity_beside_the_dense_model(monkeypatch, capsys):
    sizes = ["--blocks", "1", "--hidden", "512", "--intermediate", "96", "--steps", "2", "--sparsities", "0", "0.5"]
    monkeypatch.setattr(sys, "argv", ["decode_step", *sizes])
    decode_step.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed[1:3]] == ["sparsity 0.00", "sparsity 0.50"]
    assert printed[0].startswith("1 blocks, one thread") and printed[3].startswith("dense again")
