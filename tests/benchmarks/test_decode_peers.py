"""`benchmarks.decode_peers`, `.small_weights` and `.llama_cpp` run on a tiny model, and count right."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
import pytest
import torch

from benchmarks import decode_peers, llama_cpp, small_weights


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(" ".join(f"w{number * 7 % 60}" for number in range(1500)))
    return path


def _printed(module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys, *arguments: object) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    module.main()
    torch.set_grad_enabled(True)
    return capsys.readouterr().out.splitlines()


def test_every_side_has_a_row_whatever_it_runs(tiny_llama: Path, text: Path, monkeypatch, capsys):
    monkeypatch.setattr(decode_peers, "COPIED", 1000)
    sizes = ["--context", 8, "--steps", 2, "--rounds", 1, "--sparsities", 0.5, "--threads", 1]
    rows = _printed(decode_peers, monkeypatch, capsys, tiny_llama, "--text", text, *sizes)[3:]
    names = [row[:22].strip() for row in rows]
    ours = [f"ours {kind}, {masked}" for kind in ("float32", "bfloat16") for masked in ("dense", "50%")]
    assert names == ["torch float32", "torch bfloat16", *ours]


def test_a_side_reads_the_kept_weights_and_lm_head_in_its_format(tiny_llama: Path, text: Path):
    options = decode_peers.parser().parse_args([str(tiny_llama), "--text", str(text), "--context", "8"])
    with torch.no_grad(), ExitStack() as stack:
        _, sizes = decode_peers.sides(options, stack)
    inside, head = 2 * (32 * (32 + 16 + 16 + 32) + 3 * 32 * 48), 64 * 32
    assert sizes["torch float32"] == 4 * (inside + head) and sizes["torch bfloat16"] == 2 * (inside + head)
    assert sizes["ours bfloat16, dense"] == 2 * (inside + head)
    for masked in ("dense", "40%", "65%"):
        assert sizes[f"ours float32, {masked}"] == pytest.approx(2 * sizes[f"ours bfloat16, {masked}"], rel=0.03)
    assert 2 * head < sizes["ours bfloat16, 65%"] < sizes["ours bfloat16, 40%"] < sizes["ours bfloat16, dense"]


def test_the_cost_of_rounding_is_small_and_that_of_masks_is_not(tiny_llama: Path, text: Path, monkeypatch, capsys):
    monkeypatch.setattr(small_weights, "WIDTH", 64)
    lines = _printed(small_weights, monkeypatch, capsys, tiny_llama, text, "--windows", 2, "--threads", 1)
    perplexity = {line.partition(" masked")[0].strip(): float(line.rpartition(" ")[2]) for line in lines[::2]}
    assert perplexity["50%"] > 1.02 * perplexity["0%"]
    for line in lines[1::2]:
        change, error = map(float, re.findall(r"([-+\d.]+)%", line.partition(":")[2]))
        assert 0 < error < 10 and abs(change) < 4 * error


def test_a_file_in_q8_0_has_the_fields_of_the_first_and_its_matrices_up_to_half_a_unit(tmp_path: Path):
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    draw = np.random.default_rng(0)
    tensors = {
        "token_embd.weight": draw.normal(size=(8, 64)).astype(np.float32),
        "output.weight": draw.normal(size=(8, 64)).astype(np.float32),
        "blk.0.ffn_up.weight": draw.normal(size=(4, 64)).astype(np.float32),
        "output_norm.weight": draw.normal(size=64).astype(np.float32),
    }
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_token_list(["a", "b"])
    writer.add_block_count(1)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    llama_cpp.write_q8_0(source, target)
    reader = gguf.GGUFReader(target)
    assert reader.fields["tokenizer.ggml.tokens"].contents() == ["a", "b"]
    assert reader.fields["llama.block_count"].contents() == 1
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        assert np.abs(values - tensors[tensor.name]).max() <= np.abs(tensors[tensor.name]).max() / 127 * 0.51
    assert llama_cpp.bytes_per_token(target) == 34 * (8 + 4) * 2 + 64 * 4
    assert llama_cpp.bytes_per_token(source) == 4 * 64 * (8 + 4 + 1)
