"""`benchmarks.decode` runs from end to end, on small shapes."""

from __future__ import annotations

import re

import pytest
import torch

from benchmarks import decode


@pytest.mark.parametrize("threads", [1, 2])
def test_every_ratio_is_printed(
    threads: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(decode, "SHAPES", {"gate, up": (400, 96), "odd": (33, 7)})
    monkeypatch.setattr(decode, "TARGETS", {("gate, up", 0.5): 1e9})
    monkeypatch.setattr(decode, "_COPIED", 1 << 10)
    monkeypatch.setattr("sys.argv", ["decode", "--threads", str(threads), "--repeats", "3"])
    before = torch.get_num_threads()
    try:
        with pytest.raises(SystemExit) as left:
            decode.main()
    finally:
        torch.set_num_threads(before)
    printed = capsys.readouterr().out
    assert left.value.code == 1
    assert re.search(r"below target: gate, up at density 0\.5: \d+\.\d\d, target 1000000000\.0", printed)
    assert f"{threads} threads, 3 repeats, {'CPU time' if threads == 1 else 'wall clock'}" in printed
    assert (
        len(re.findall(r"density [01]\.\d\d .* ms \[.*\] +\d+\.\d GB/s   read [01]\.\d+   ratio \d+\.\d\d", printed))
        == 8
    )
    read = [float(match) for match in re.findall(r"read ([01]\.\d+)", printed)][:4]
    # Of 7 x 400 scores: the standard error of a fraction is below 0.01.
    assert read == pytest.approx([1.0, 0.5, 0.35, 0.2], abs=0.03)
