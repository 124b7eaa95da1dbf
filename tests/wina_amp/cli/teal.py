"""A made-up folder in the layout of TEAL's `models`: histograms of activations of the tiny model, tables of a walk."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch

from wina_amp.cli.teal_files import PLACES
from wina_amp.models.projections import Projection

BINS = 400
"""Fine enough that a quantile is within 1% of the scores."""
STEP = 0.025


def activations(site: str, block: int) -> torch.Tensor:
    """What a site reads, of another size for every site: symmetric about 0, as TEAL takes activations to be."""
    draw = torch.Generator().manual_seed(100 * block + list(PLACES).index(site))
    return torch.randn(20_000, generator=draw) * (1 + list(PLACES).index(site)) / (1 + block)


def write(folder: Path, projections: list[Projection], *, packed: bool) -> None:
    """Write the folder, as TEAL's code does or with the arrays in one file."""
    arrays: dict[str, np.ndarray] = {}
    for block in range(projections[-1].block + 1):
        parts: dict[str, dict[str, torch.Tensor]] = {"self_attn": {}, "mlp": {}}
        for site, (part, name) in PLACES.items():
            counts, edges = torch.histogram(activations(site, block), BINS)
            parts[part] |= {name: counts, f"{name}_centers": (edges[1:] + edges[:-1]) / 2}
        for part, tensors in parts.items():
            file = folder / "histograms" / f"layer-{block}" / part / "histograms.pt"
            file.parent.mkdir(parents=True, exist_ok=True)
            if not packed:
                torch.save(tensors, file)
            arrays |= {f"layer{block:02d}.{part}.{name}": tensor.numpy() for name, tensor in tensors.items()}
        own = [projection for projection in projections if projection.block == block]
        lookup = folder / "lookup"
        file = lookup / f"layer-{block:02d}.csv" if packed else lookup / f"layer-{block}" / "results.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("w", newline="") as lines:
            writer = csv.writer(lines)
            names = [projection.name for projection in own]
            writer.writerow(["Effective Sparsity", "Activation Error", "Baseline Error", *names])
            writer.writerows([effective, 0.5, 0.6, *sparsities] for effective, *sparsities in walk(own))
    if packed:
        np.savez(folder / "histograms.npz", **arrays)


def walk(own: list[Projection]) -> list[list[float]]:
    """Effective sparsity and that of every projection: steps that take turns, the later projections more of them."""
    costs = np.array([projection.gated_weights for projection in own])
    sparsities, rows = np.zeros(len(own)), []
    for turn in range(len(own) * 24):
        taken = turn % len(own) if turn % 3 else len(own) - 1
        sparsities[taken] += STEP * costs[0] / costs[taken]
        rows.append([float(sparsities @ costs / costs.sum()), *sparsities.tolist()])
    return rows
