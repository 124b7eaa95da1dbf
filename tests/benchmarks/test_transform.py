"""`benchmarks.transform`: the bases are timed at the width that is asked for."""

from __future__ import annotations

import sys

from benchmarks import transform


def test_it_times_both_rotated_inputs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["transform", "--basis", "--hidden", "64"])
    transform.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["qkv", "gate_up"]
    assert all(line.endswith("at width 64") for line in lines)
