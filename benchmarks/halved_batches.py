"""How far capture's numbers depend on the number of rows in a batch, where memory runs out.

    python -m benchmarks.halved_batches                                       # the embedded model, float32
    python -m benchmarks.halved_batches --model <folder> --dtype bfloat16 --samples 8

Random samples of 20 to 90 tokens are observed in whole batches, and with room for fewer and fewer rows; prints for how
many samples a feature magnitude or a count of a histogram has changed, and the largest relative change of a magnitude.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from stages.inputs import paths
from wina_amp.capture.passes import observed
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import LoadedModel, load
from wina_amp.tokens.batching import batches
from wina_amp.tokens.samples import TokenizedSample

Numbers = dict[str, tuple[np.ndarray, np.ndarray]]
"""Sample -> its magnitudes and its counts."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=paths.REFERENCE_MODEL)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--samples", type=int, default=60)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    loaded = load(options.model, revision=None, dtype=options.dtype, device="cpu")
    draw = np.random.default_rng(0)
    samples = [
        TokenizedSample(f"{number:04d}", draw.integers(3, 200, draw.integers(20, 90)).tolist(), [5])
        for number in range(options.samples)
    ]
    whole = _observe(loaded, samples)
    for rows in (8, 4, 2, 1):
        with _room_for(loaded, rows):
            halved = _observe(loaded, samples)
        moved = [sum(not np.array_equal(whole[name][of], halved[name][of]) for name in whole) for of in range(2)]
        largest = max(_change(whole[name][0], halved[name][0]) for name in whole)
        print(
            f"room for {rows}: magnitudes of {moved[0]} and counts of {moved[1]} of {len(whole)} samples, {largest:.1e}"
        )


def _change(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


def _observe(loaded: LoadedModel, samples: list[TokenizedSample]) -> Numbers:
    planned = batches([sample.length for sample in samples], [sample.sample_id for sample in samples], 1024)
    numbers: Numbers = {}
    for batch in observed(
        loaded,
        [[samples[number] for number in batch] for batch in planned],
        histograms_of={sample.sample_id for sample in samples},
        criteria=("teal", "wina"),
        bins=Bins(4),
        dense_prefix=1,
    ):
        for row, sample in enumerate(batch.sample_ids):
            magnitudes = [seen.magnitudes[row].ravel() for seen in batch.observations if len(seen.magnitudes)]
            counts = [seen.counts[row].ravel() for seen in batch.observations]
            numbers[sample] = np.concatenate(magnitudes), np.concatenate(counts)
    return numbers


@contextmanager
def _room_for(loaded: LoadedModel, rows: int) -> Generator[None]:
    """Memory runs out in passes over more rows."""

    def allocate(_module: Any, _arguments: Any, named: dict[str, Any]) -> None:
        if len(named["input_ids"]) > rows:
            raise torch.OutOfMemoryError("out of memory")

    hook = loaded.decoder.register_forward_pre_hook(allocate, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


if __name__ == "__main__":
    main()
