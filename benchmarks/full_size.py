"""A model of full-size shapes through capture, aggregate and greedy allocation: time, memory and disk space.

    python -m benchmarks.full_size --shape llama-3-8b --blocks 2            # fits a laptop's memory
    python -m benchmarks.full_size --shape llama-3-8b --device cuda         # all 32 blocks, on a GPU

Weights are random and made in the dtype asked for; samples are random tokens of 300 to 700 each, all counted, as in
the train split. Everything runs through the library's own functions, as the stages call them. Plain forward pass and
capture alternate batch by batch, so that whatever else the machine does meets both; what capture does once (column
norms of all weights) is timed apart, and compilation is not timed. Bytes per sample are also given for all blocks of
the real model, by proportion: a block's rows do not depend on how many blocks there are.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import torch
from transformers import LlamaConfig, Phi3Config, PreTrainedConfig, Qwen2Config

from benchmarks.random_models import in_batches, random_model, random_samples
from pipeline.capture.capture import Part, capture
from pipeline.histograms.aggregate import aggregate, dense_counts
from pipeline.storage.schemas import HISTOGRAMS, SIGNATURES
from wina_amp.allocation.calibration.texts import choose
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.capture.accumulate import backend
from wina_amp.decode.interleaved import clock
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel
from wina_amp.names import DTYPES
from wina_amp.tokens.padding import right_padded
from wina_amp.tokens.samples import TokenizedSample

SHAPES: dict[str, Callable[[], PreTrainedConfig]] = {
    "llama-3-8b": lambda: LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
        max_position_embeddings=8192,
    ),
    "qwen2.5-7b": lambda: Qwen2Config(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=32768,
    ),
    "phi-4": lambda: Phi3Config(
        hidden_size=5120,
        intermediate_size=17920,
        num_hidden_layers=40,
        num_attention_heads=40,
        num_key_value_heads=10,
        vocab_size=100352,
        max_position_embeddings=16384,
    ),
}
CRITERIA = ("teal", "wina")
BINS = Bins(4)
DENSE_PREFIX = 0.01
LENGTHS, ANSWER = (300, 700), 20
STOP = 0.65
SIGNATURE_DIM = 32
SEED = 0


@dataclass
class Captured:
    """Results of the timed passes.

    Attributes:
        plain: seconds of the plain forward pass, one entry per repeat and batch.
        capture: seconds of capture of the same batches.
        parts: its rows.
        once: seconds of what a capture does once.
    """

    plain: list[float]
    capture: list[float]
    parts: list[Part]
    once: float = 0.0

    @property
    def ratio(self) -> float:
        """Capture over the plain forward pass, median over batches and repeats."""
        return statistics.median(c / p for c, p in zip(self.capture, self.plain, strict=True))


def main() -> None:
    """Print the figures."""
    options = _options()
    torch.set_num_threads(options.threads)
    config = SHAPES[options.shape]()
    real_blocks = config.num_hidden_layers
    config.num_hidden_layers = blocks = options.blocks or real_blocks
    loaded = random_model(config, options.dtype, options.device)
    items = random_samples(options.samples, config.vocab_size, LENGTHS, ANSWER)
    ids = [item.sample_id for item in items]
    planned = in_batches(items, options.batch)
    tokens = sum(item.length for item in items)
    machine = f"{options.device}, torch {torch.__version__}, CPU threads {options.threads}"
    print(f"{options.shape}, {blocks} of {real_blocks} blocks, {options.dtype} on {machine}")
    print(f"{tokens} tokens of {len(items)} samples in {len(planned)} batches; model built: {_memory(loaded.device)}")

    timed = time_capture(loaded, planned, options.repeats)
    for name, seconds in (("plain forward", timed.plain), ("capture", timed.capture)):
        print(f"{name}: {tokens * options.repeats / sum(seconds):.0f} tokens/s")
    print(f"capture / plain, median over batches and repeats: {timed.ratio:.2f}; after: {_memory(loaded.device)}")
    print(f"capture, once: {timed.once:.1f} s; scores counted the way `{backend(loaded.device)}`")

    for name, schema in (("histograms", HISTOGRAMS), ("signatures", SIGNATURES)):
        size = _parquet_bytes(pa.concat_tables([getattr(part, name) for part in timed.parts]), schema) / len(items)
        whole = size * real_blocks / blocks
        print(f"{name}: {size / 1e3:.1f} kB per sample, {whole / 1e3:.0f} kB for {real_blocks} blocks")

    began = time.perf_counter()
    groups = np.zeros(len(ids), np.int64)
    merged = aggregate([part.histograms for part in timed.parts], ids, groups, scheme="global", bins=BINS)
    print(f"aggregate: {time.perf_counter() - began:.2f} s")
    _greedy(loaded, items, merged, options)
    print(f"at the end: {_memory(loaded.device)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="llama-3-8b")
    parser.add_argument("--blocks", type=int, help="blocks to build (default: as many as the real model has)")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2048, help="tokens per forward pass, padding included")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="bfloat16", choices=DTYPES)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--greedy-blocks", type=int, default=1, help="blocks to allocate")
    parser.add_argument("--greedy-step", type=float, default=0.25)
    parser.add_argument("--greedy-tokens", type=int, default=256, help="measured tokens")
    return parser.parse_args()


def plain_forward(loaded: LoadedModel, batch: Sequence[TokenizedSample]) -> None:
    """The decoder over one right-padded batch, as capture runs it, with nothing watching."""
    ids, _ = right_padded([sample.ids for sample in batch])
    with torch.inference_mode():
        loaded.decoder(input_ids=ids.to(loaded.device), use_cache=False)


def time_capture(loaded: LoadedModel, planned: Sequence[Sequence[TokenizedSample]], repeats: int) -> Captured:
    """Plain forward pass and capture of every batch in turn; the first batch of a capture stands for `once`, and is not
    counted."""
    timed = Captured([], [], [])
    for _ in range(2):  # the first round compiles
        timed.once, _ = _seconds(lambda: next(captured(loaded, planned[:1])), loaded.device)
    for repeat in range(repeats):
        rows = captured(loaded, [planned[0], *planned])
        next(rows)
        for batch in planned:
            # The hooks of `capture` are on the model while it is suspended, and do nothing outside a batch.
            plain, _ = _seconds(lambda batch=batch: plain_forward(loaded, batch), loaded.device)
            slow, part = _seconds(lambda rows=rows: next(rows), loaded.device)
            timed.plain.append(plain)
            timed.capture.append(slow)
            if repeat == 0:
                timed.parts.append(part)
        rows.close()
    timed.once -= timed.capture[0]
    return timed


def captured(loaded: LoadedModel, planned: Sequence[Sequence[TokenizedSample]]) -> Generator[Part]:
    rows = capture(
        loaded,
        planned,
        histograms_of={sample.sample_id for batch in planned for sample in batch},
        criteria=CRITERIA,
        mantissa_bits=BINS.mantissa_bits,
        signature_dim=SIGNATURE_DIM,
        dense_prefix=DENSE_PREFIX,
        seed=SEED,
    )
    return cast("Generator[Part]", rows)


def _seconds(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    now = clock_of(device)
    began = now()
    result = work()
    return now() - began, result


def clock_of(device: torch.device) -> Callable[[], float]:
    """Of the process on the CPU, which a busy machine blurs less than the wall clock; the GPU needs the wall clock."""
    return time.process_time if device.type == "cpu" else clock(device)


def _parquet_bytes(table: pa.Table, schema: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.parquet"
        schema.write(table, file)
        return file.stat().st_size


def _greedy(
    loaded: LoadedModel, items: Sequence[TokenizedSample], merged: pa.Table, options: argparse.Namespace
) -> None:
    frame: Any = merged.to_pandas()
    known = frame[frame["criterion"] == "wina"]
    keys = zip(known["block"].tolist(), known["projection"].tolist(), strict=True)
    paths = block_paths(
        loaded,
        choose(items, tokens=options.greedy_tokens, dense_prefix=DENSE_PREFIX, seed=SEED),
        dict(zip(keys, dense_counts(known, BINS), strict=True)),
        bins=BINS,
        criterion="wina",
        stop=STOP,
        step=options.greedy_step,
        dense_prefix=DENSE_PREFIX,
        budget=options.batch,
    )
    for number in range(options.greedy_blocks):
        seconds, block = _seconds(lambda: next(paths), loaded.device)
        _, error = block.path.at(STOP)
        extra = " with the block inputs of the whole model" if number == 0 else ""
        rounds = len(block.path.mean) - 1
        print(f"greedy, block {number}: {seconds:.1f} s{extra}; {rounds} rounds, error {error:.3f} at {STOP}")


def _memory(device: torch.device) -> str:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    weights = f", GPU {torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if device.type == "cuda" else ""
    return f"peak host memory {peak:.1f} GB{weights}"


if __name__ == "__main__":
    main()
