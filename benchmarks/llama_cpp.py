"""llama.cpp as the other side of `decode_peers`: decode steps on a GGUF file, and a file in Q8_0 of the same weights.

Needs the wheel of requirements-peers.txt, which nothing else here does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

HEADS = ("output.weight", "token_embd.weight")
"""The output projection; the first that a file has. Of other embeddings a step reads one row."""


class LlamaCpp:
    """A model of llama.cpp that continues one prompt, greedily.

    Args:
        path: its GGUF file.
        prompt: token ids.
        threads: threads.
    """

    def __init__(self, path: Path, prompt: Sequence[int], threads: int) -> None:
        import xllamacpp  # pyright: ignore[reportMissingImports]

        parameters: Any = xllamacpp.CommonParams()
        parameters.model.path = str(path)
        parameters.verbosity = -1
        parameters.n_ctx, parameters.n_parallel, parameters.warmup = 1024, 1, True
        parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = threads
        self._server: Any = xllamacpp.Server(parameters)
        self._prompt = list(prompt)

    def __call__(self, steps: int) -> float:
        """Seconds of a decode step, the mean over `steps`, by llama.cpp's own clock; the prompt stays cached."""
        asked = {
            "prompt": self._prompt,
            "n_predict": steps,
            "temperature": 0.0,
            "cache_prompt": True,
            "ignore_eos": True,
        }
        answer = self._server.handle_completions(asked)
        timings = (json.loads(answer) if isinstance(answer, str) else answer)["timings"]
        return timings["predicted_per_token_ms"] / 1e3


def bytes_per_token(path: Path) -> int:
    """Bytes of weights that a step reads."""
    tensors = {tensor.name: int(tensor.n_bytes) for tensor in gguf.GGUFReader(path).tensors}
    head = next(name for name in HEADS if name in tensors)
    return sum(size for name, size in tensors.items() if name not in HEADS) + tensors[head]


def write_q8_0(source: Path, target: Path) -> None:
    """Write the weights of a GGUF file anew, every matrix in Q8_0: what llama.cpp's quantiser makes of the checkpoint
    that was made of the same file."""
    reader = gguf.GGUFReader(source)
    architecture = "general.architecture"
    writer = gguf.GGUFWriter(target, reader.fields[architecture].contents())
    written = (architecture, "general.file_type", "general.quantization_version")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in written:
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], sub_type=inner)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    kind = gguf.GGMLQuantizationType.Q8_0
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if values.ndim == 2:
            writer.add_tensor(tensor.name, gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write a GGUF file anew in Q8_0.")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    write_q8_0(options.source, options.target)
