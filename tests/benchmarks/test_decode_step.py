"""`benchmarks.decode_step` runs at small sizes, and its thresholds mask what they say."""

from __future__ import annotations

import sys

import pytest
import torch

from benchmarks import decode_step
from wina_amp.masks.install import install


def test_it_prints_a_line_per_sparsity_beside_the_dense_model(monkeypatch, capsys):
    sizes = ["--blocks", "1", "--hidden", "512", "--intermediate", "96", "--steps", "2", "--sparsities", "0", "0.5"]
    monkeypatch.setattr(sys, "argv", ["decode_step", *sizes])
    decode_step.main()
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in printed[1:3]] == ["sparsity 0.00", "sparsity 0.50"]
    assert printed[0].startswith("1 blocks, one thread") and printed[3].startswith("dense again")


def test_thresholds_mask_the_fraction_of_the_tokens_they_were_taken_from():
    loaded = decode_step.random_model(1, 512, 96)
    limits = decode_step.thresholds(loaded, 0.5)
    tokens = torch.randint(3, decode_step.VOCABULARY, (1, 128), generator=torch.Generator().manual_seed(1))
    everything = torch.ones(1, 128, dtype=torch.bool)
    group = torch.zeros(1, dtype=torch.int64)
    with (
        torch.inference_mode(),
        install(loaded, decode_step.CRITERION, limits) as runtime,
        runtime.rows(group, everything) as counts,
    ):
        loaded.model(tokens)
    # q reads what it was calibrated on; masks in front of the others change what they read.
    assert counts.kept[0, 0].item() == pytest.approx(0.5 * 128 * 512, rel=1e-3)
