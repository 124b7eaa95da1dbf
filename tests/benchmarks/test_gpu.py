"""`benchmarks.gpu` runs from end to end on small shapes, on the CPU's backend and in Triton's interpreter."""

from __future__ import annotations

import re
from argparse import Namespace
from importlib.util import find_spec

import pytest
import torch
from transformers import LlamaConfig, Phi3Config

from benchmarks import gpu
from pipeline.latency import traffic

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
OPTIONS = {
    "shape": None,
    "blocks": None,
    "batches": [1, 3],
    "context": 6,
    "steps": 3,
    "samples": 2,
    "device": "cpu",
    "dtype": "float32",
    "backend": None,
    "compile": False,
    "tune": True,
    "seconds": 600.0,
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"llama-3-8b": lambda: LlamaConfig(**SMALL), "phi-4": lambda: Phi3Config(**SMALL)}
    monkeypatch.setattr(gpu, "SHAPES", shapes)
    monkeypatch.setattr(gpu, "LENGTHS", (30, 60))
    monkeypatch.setattr(traffic, "LEAST_COPIED", 1 << 16)
    monkeypatch.setattr(gpu, "last_level_cache", lambda _device: 0)


def _run(**changes: object) -> tuple[list[str], gpu.Figures]:
    figures = gpu.Figures()
    return list(gpu.lines(Namespace(**(OPTIONS | changes)), figures)), figures


def test_a_line_for_every_figure():
    printed, figures = _run()
    for shape in ("llama-3-8b", "phi-4"):
        pattern = rf"{shape}, capture / plain forward pass: \d+\.\d\d, counted the way `compiled`; 2 samples"
        assert sum(bool(re.match(pattern, line)) for line in printed) == 1
        for batch in (1, 3):
            for site in ("qkv", "o", "gate_up", "down"):
                assert sum(f"{shape}, batch {batch}, kernels of {site} at 0.5: reads" in line for line in printed) == 1
            for target in ("0.00", "0.40", "0.50", "0.65"):
                pattern = rf"{shape}, batch {batch}, sparsity {target}: .* ms a step \(eager\), dense eager .*x \["
                assert sum(bool(re.match(pattern, line)) for line in printed) == 1
    assert set(figures.ratios) == set(gpu.TARGETS) and set(figures.bandwidths) == {"qkv", "o", "gate_up", "down"}
    assert figures.capture is not None and figures.capture > 0
    rooflines = [float(re.search(r"roofline ([\d.]+)x", line)[1]) for line in printed if "roofline" in line][:4]
    assert rooflines == sorted(rooflines) and rooflines[0] == pytest.approx(1, abs=0.02) and rooflines[3] > 1.2


def test_a_batch_of_one_keeps_what_the_target_says():
    printed, _ = _run(shape=["llama-3-8b"], batches=[1])
    reads = [float(re.search(r"reads ([\d.]+),", line)[1]) for line in printed if "kernels of" in line]
    assert all(0.25 < fraction < 0.75 for fraction in reads), reads


def test_block_sizes_are_tried_and_the_fastest_kept(monkeypatch: pytest.MonkeyPatch):
    if find_spec("triton") is None or torch.cuda.is_available():
        pytest.skip("needs Triton's interpreter (`make kernels`)")
    from wina_amp.decode import triton_gather

    monkeypatch.setattr(triton_gather, "BLOCKS", dict(triton_gather.BLOCKS))
    monkeypatch.setattr(gpu, "CANDIDATES", ((64, 256, 64, 4),))
    printed, _ = _run(shape=["llama-3-8b"], batches=[1], backend="triton", blocks=1, steps=1)
    (line,) = [line for line in printed if line.startswith("blocks for 1 tokens")]
    assert "32x128/512/4" in line and "64x256/64/4" in line
    assert str(triton_gather.BLOCKS[1]) in line


def test_what_there_is_no_time_for_is_reported():
    printed, figures = _run(seconds=-1.0)
    assert sum(bool(re.search(r"not run, \d+ s of -1 are spent", line)) for line in printed) == 4 and not figures.ratios


def test_targets_are_checked():
    figures = gpu.Figures(ratios={0.4: 1.3, 0.5: 1.39}, bandwidths={"gate_up": 0.81, "down": 0.5}, capture=1.1)
    results = [line.rpartition(": ")[2] for line in gpu.checks(figures)]
    assert results == [
        "1.30, reached",
        "1.39, MISSED",
        "not measured",
        "0.81, reached",
        "0.50, MISSED",
        "1.10, reached",
    ]
    assert [line.rpartition(": ")[2] for line in gpu.checks(gpu.Figures(capture=1.11))][-1] == "1.11, MISSED"
