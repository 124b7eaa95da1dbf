"""`wina_amp.decode.triton_gather` compiles for GPUs that are not there. Its results are tested by backend name
(`test_backends.py`), on a GPU or in Triton's interpreter."""

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
from wina_amp.decode import triton_gather as kernels

for capability, dtype, rows in product((80, 90), ("*fp16", "*bf16", "*fp32"), (1, 8)):
    tensors = dict(x=dtype, weight=dtype, cutoffs="*fp32", groups="*i64", sums="*fp32")
    numbers = dict.fromkeys(("tokens", "inputs", "width", "second", "third"), "i32")
    block = kernels.BLOCKS[rows]
    cut = dict(ROWS=rows, PROJECTIONS=3, IN=block.inputs, OUT=block.outputs, PART=block.part)
    added = dict(sums="*fp32", bias=dtype, y=dtype, width="i32", outputs="i32", up="i32")
    added |= dict(PARTS=8, OUT=block.outputs, HAS_BIAS=True, IS_GATED=rows == 1)
    for kernel, given in ((kernels._multiply, tensors | numbers | cut), (kernels._add, added)):
        is_type = [isinstance(kind, str) for kind in given.values()]
        wide = {name for name, kind in given.items() if isinstance(kind, str)} - {"tokens"}
        source = ASTSource(
            fn=kernel,
            signature={name: kind if isinstance(kind, str) else "constexpr" for name, kind in given.items()},
            constexprs={(index,): kind for index, kind in enumerate(given.values()) if not is_type[index]},
            attrs={(index,): [["tt.divisibility", 16]] for index, name in enumerate(given) if name in wide},
        )
        compiled = compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": True})
        assert compiled.asm["cubin"]
        assert not re.search(r"\b(atom|red)\.", compiled.asm["ptx"]), "atomic additions have no order"
"""


@pytest.mark.skipif(
    find_spec("triton") is None,
    reason="triton is not installed: its kernels are NOT compiled here (`pip install triton` is enough)",
)
def test_kernels_compile_for_capabilities_8_and_9_and_add_nothing_atomically(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    # What an earlier run compiled must not answer.
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", COMPILE], check=True, env=environment)
