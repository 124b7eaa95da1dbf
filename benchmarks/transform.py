"""Perplexity under masks with and without the tensor transform, and the cost of its bases.

    python -m benchmarks.transform              # perplexity without and with it; needs ../shared/parity
    python -m benchmarks.transform --basis      # seconds of the bases of one block of Llama-3-8B widths, on the CPU

Perplexity is that of `benchmarks.parity_model`: uniform threshold masks, thresholds from the model's own scores of the
calibration sequences, with rotated inputs where the model is rotated. The widths' weights are random; a float64
decomposition does not care.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from benchmarks.parity_model import CRITERIA, load_parity_model, run, score_counts, thresholds_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.models.transform import basis, block_bases, rotate_block

TARGETS = (0.25, 0.4, 0.5, 0.65)
SITES = {"qkv": (1024, 4096 + 1024), "gate_up": (14336, 14336)}
"""Rows of the leading map and of the others, at hidden size 4096."""


def main() -> None:
    """Print one of the two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basis", action="store_true", help="time the bases instead")
    parser.add_argument("--hidden", type=int, default=4096, help="width of the bases")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.basis:
        for site, rows in SITES.items():
            print(f"{site}: {basis_seconds(rows, options.hidden):.1f} s at width {options.hidden}")
        return
    loaded = load_parity_model()
    print_perplexities("without", loaded)
    for block in range(len(loaded.layers)):
        rotate_block(loaded, block, block_bases(loaded, block))
    print_perplexities("with", loaded)


def basis_seconds(rows: tuple[int, int], hidden: int) -> float:
    """Wall-clock seconds of one site's basis; `rows` of the leading map and of the others at hidden size 4096."""
    generator = torch.Generator().manual_seed(0)
    leading, rest = (
        torch.randn(count * hidden // 4096, hidden, generator=generator, dtype=torch.float64) for count in rows
    )
    began = time.perf_counter()
    basis(leading, [rest])
    return time.perf_counter() - began


def print_perplexities(title: str, loaded: LoadedModel) -> None:
    """A line per criterion: perplexity at every target."""
    counts = score_counts(loaded, is_prefix_counted=False)
    blocks = len(loaded.layers)
    shape = (blocks, len(projections(loaded.model)) // blocks)
    for criterion in CRITERIA:
        limits = [thresholds_of(counts[criterion], np.full(shape, target)) for target in TARGETS]
        perplexities = [run(loaded, criterion, values).perplexity for values in limits]
        print(f"{criterion} {title}: " + ", ".join(f"{value:.1f}" for value in perplexities), flush=True)


if __name__ == "__main__":
    main()
