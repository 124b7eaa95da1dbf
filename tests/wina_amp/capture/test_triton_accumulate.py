"""`wina_amp.capture.triton_accumulate` compiles for GPUs that are not there. Its counts and sums are tested beside
the other backends (`test_accumulate.py`), on a GPU or in Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

COMPILE = r"""
import re
from itertools import product
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from wina_amp.capture import triton_accumulate as kernels
from wina_amp.histograms.bins import FIRST_BIN, Bins

blocks = kernels.BLOCKS
cases = [*product((80, 90), ("*fp16", "*bf16", "*fp32"), (4,)), (90, "*bf16", 0), (90, "*bf16", 8)]
for capability, dtype, mantissa_bits in cases:
    bins = Bins(mantissa_bits)
    tensors = dict(x=dtype, weights="*fp32", segment="*i64", counts="*i32", broken="*i32")
    cut = dict(SHIFT=bins.shift, OFFSET=bins.base - FIRST_BIN, BINS=bins.count)
    cut |= dict(WINDOW=max(32, blocks.octaves << mantissa_bits), FEATURES=blocks.features, TOKENS=blocks.tokens)
    counting = tensors | dict(tokens="i32", features="i32", scorings="i32") | cut
    summing = dict(x=dtype, sum_segment="*i64", sums="*fp32", tokens="i32", features="i32")
    summing |= dict(FEATURES=blocks.tile_features, TOKENS=blocks.tile_tokens)
    for kernel, given, warps in ((kernels._count, counting, blocks.warps), (kernels._sum, summing, 4)):
        is_type = [isinstance(kind, str) for kind in given.values()]
        wide = {name for name, kind in given.items() if isinstance(kind, str)} - {"tokens", "scorings"}
        source = ASTSource(
            fn=kernel,
            signature={name: kind if isinstance(kind, str) else "constexpr" for name, kind in given.items()},
            constexprs={(i,): kind for i, kind in enumerate(given.values()) if not is_type[i]},
            attrs={(i,): [["tt.divisibility", 16]] for i, name in enumerate(given) if name in wide},
        )
        compiled = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
        assert compiled.asm["cubin"]
        ptx = compiled.asm["ptx"]
        assert not re.search(r"\b(atom|red)\S*\.f(16|32|64)\b", ptx), "atomic additions of floats have no order"
        assert ".ftz" not in ptx, "subnormal scores must not become zero"
        assert bool(re.search(r"\b(atom|red)\S*\.global", ptx)) == (kernel is kernels._count)
"""


@pytest.mark.skipif(
    find_spec("triton") is None,
    reason="triton is not installed: its kernels are NOT compiled here (`pip install triton` is enough)",
)
def test_kernels_compile_for_capabilities_8_and_9_and_add_no_floats_atomically(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    # What an earlier run compiled must not answer.
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", COMPILE], check=True, env=environment)
