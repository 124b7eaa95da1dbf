"""The files that TEAL publishes for a model (github.com/FasterDecoding/TEAL, `models/<name>`), as thresholds of ours.

    histograms/layer-3/self_attn/histograms.pt    h1, h2: counts of activations in bins; h1_centers, h2_centers
    histograms/layer-3/mlp/histograms.pt          the same; h1 is what q k v or gate up read, h2 what o or down read
    lookup/layer-3/results.csv                    the greedy search, a step a row: Effective Sparsity, q, k, ..., down

The arrays may also lie in one `histograms.npz` (`layer03.mlp.h1`), the tables in `lookup/layer-03.csv`. A threshold is
theirs, to the rounding of their float32 sums: the quantile at 0.5 + s/2 of the SIGNED activations, which assumes that
they lie symmetrically about 0; and at a target, the row of the table that is nearest to it.
"""

from __future__ import annotations

import csv
import math
import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from jaxtyping import Float32, Float64
from numpy import ndarray

from wina_amp.errors import UserError
from wina_amp.models.projections import Projection
from wina_amp.names import GREEDY

PLACES = {"qkv": ("self_attn", "h1"), "o": ("self_attn", "h2"), "gate_up": ("mlp", "h1"), "down": ("mlp", "h2")}
"""Site -> folder and name of the histogram of what it reads."""

_UNREADABLE = (
    OSError, ValueError, TypeError, RuntimeError, EOFError, AttributeError, BadZipFile, pickle.UnpicklingError
)  # fmt: skip
"""What numpy and torch raise for files that are damaged or hold something else."""

_EFFECTIVE = "Effective Sparsity"
_ROUNDING = 1e-6
"""Of what a table calls its effective sparsity. Theirs agree to 2e-16; other shapes change the third digit."""


def teal_thresholds(
    folder: Path, projections: Sequence[Projection], targets: Sequence[float], allocation: str
) -> Float32[ndarray, "targets blocks projections"]:
    """The thresholds that TEAL's code would set.

    Args:
        folder: with the files above.
        projections: of the model, in order.
        targets: sparsities.
        allocation: `uniform` needs histograms alone, `greedy` the tables, too.

    Raises:
        UserError: a file that is missing, cannot be read or is not of such a kind; another number of blocks; tables of
            other projections or of matrices of other shapes, or that end before a target.
    """
    histograms = _histograms(folder)
    blocks = projections[-1].block + 1
    there = 1 + max((block for block, *_ in histograms), default=-1)
    if there != blocks:
        must = f"The histograms must be of a model with as many blocks, {blocks}"
        raise UserError(must, f"{there} blocks", folder, "name the files of this model")
    limits = np.zeros((len(targets), blocks, len(projections) // blocks), dtype=np.float32)
    for block in range(blocks):
        own = [projection for projection in projections if projection.block == block]
        table = _table(folder, block, own) if allocation == GREEDY else None
        quantiles = [_quantile(histograms, projection, folder) for projection in own]
        for number, target in enumerate(targets):
            sparsities = [target] * len(own) if table is None else _nearest(table, target, folder, block)
            pairs = zip(quantiles, sparsities, strict=True)
            limits[number, block] = [quantile(sparsity) for quantile, sparsity in pairs]
    return limits


def threshold(centers: Float64[ndarray, " bins"], cumulative: Float64[ndarray, " bins"], sparsity: float) -> float:
    """The threshold at a sparsity, by the histogram's quantile at 0.5 + sparsity/2, interpolated between centers.

    Guarantee: not negative, and 0 at sparsity 0. Above 1, which their tables have, it is the last center, as in theirs.
    """
    wanted = (0.5 + sparsity / 2) * cumulative[-1]
    upper = int(np.searchsorted(cumulative, wanted))
    if sparsity == 0:
        return 0.0
    if upper in (0, len(centers)):
        return max(0.0, float(centers[min(upper, len(centers) - 1)]))
    fraction = (wanted - cumulative[upper - 1]) / (cumulative[upper] - cumulative[upper - 1])
    return max(0.0, float(centers[upper - 1] + fraction * (centers[upper] - centers[upper - 1])))


def _quantile(
    histograms: Mapping[tuple[int, str, str], ndarray], projection: Projection, folder: Path
) -> Callable[[float], float]:
    part, name = PLACES[projection.site]
    places = [(projection.block, part, key) for key in (f"{name}_centers", name)]
    where = f"{folder}, histogram {name} of {part} in layer {projection.block}"
    if any(place not in histograms for place in places):
        must = f"Every input of the model must have a histogram, {projection.name} of block {projection.block}, too"
        raise UserError(must, "none", where, "name a folder with all files of this model")
    centers, counts = (histograms[place].astype(np.float64) for place in places)
    if centers.shape != counts.shape or not (np.diff(centers) > 0).all():
        raise UserError("A histogram must have a center for every count, ascending", "others", where, "copy it again")
    if not (np.isfinite(counts).all() and (counts >= 0).all() and counts.sum() > 0):
        must = "The counts of a histogram must be numbers that are not negative, and not all 0"
        raise UserError(must, "others", where, "copy it again")
    if not centers[0] < 0 < centers[-1]:
        found = f"centers from {centers[0]:g} to {centers[-1]:g}"
        remedy = "take TEAL's files; WINA's count absolute scores"
        raise UserError("A histogram must count signed activations", found, where, remedy)
    cumulative = np.cumsum(counts)
    return lambda sparsity: threshold(centers, cumulative, sparsity)


def _histograms(folder: Path) -> dict[tuple[int, str, str], ndarray]:
    """(block, part, name) -> array."""
    arrays: dict[tuple[int, str, str], ndarray] = {}
    packed, files = folder / "histograms.npz", sorted(folder.glob("histograms/layer-*/*/histograms.pt"))
    if not packed.is_file() and not files:
        must = "The folder must have TEAL's histograms, `histograms/layer-0/mlp/histograms.pt` and so on"
        raise UserError(must, "none", folder, "name the folder of one model in TEAL's `models`")
    file = packed
    try:
        if packed.is_file():
            with packed.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
                for key in content.files:
                    if match := re.fullmatch(r"layer(\d+)\.(mlp|self_attn)\.(.+)", key):
                        arrays[int(match[1]), match[2], match[3]] = content[key]
            return arrays
        for file in files:
            block, part = int(file.parent.parent.name.removeprefix("layer-")), file.parent.name
            tensors = cast(dict[str, Any], torch.load(file, map_location="cpu", weights_only=True))
            arrays |= {(block, part, name): tensor.numpy() for name, tensor in tensors.items()}
        return arrays
    except _UNREADABLE as error:
        must, found = "A file of histograms must hold arrays by name", f"{type(error).__name__}"
        raise UserError(must, found, file, "copy it again") from error


def _table(folder: Path, block: int, projections: Sequence[Projection]) -> Float64[ndarray, "rows columns"]:
    """Effective sparsity and that of every projection, a row for every step."""
    names = (folder / "lookup" / f"layer-{block}" / "results.csv", folder / "lookup" / f"layer-{block:02d}.csv")
    file = next((name for name in names if name.is_file()), None)
    if file is None:
        raise UserError(
            "Every block must have its greedy table", "none", names[0], "copy it, or `--allocation uniform`"
        )
    with file.open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = list(csv.DictReader(lines))
    columns = [_EFFECTIVE, *(projection.name for projection in projections)]
    lost = [name for name in columns if not rows or name not in rows[0]]
    if lost:
        must = "A greedy table must have rows, with a column for every projection of the model"
        raise UserError(must, f"no {', '.join(lost)}", file, "name the files of this model, or `--allocation uniform`")
    try:
        table = np.array([[float(row[name]) for name in columns] for row in rows])
    except (TypeError, ValueError) as error:
        raise UserError("A greedy table must hold numbers", str(error), file, "copy it again") from error
    costs = np.array([projection.gated_weights for projection in projections])
    means = table[:, 1:] @ costs / costs.sum()
    worst = int(np.argmax(np.nan_to_num(np.abs(means - table[:, 0]), nan=math.inf)))
    if not abs(means[worst] - table[worst, 0]) <= _ROUNDING or table.min() < 0:
        must = "The effective sparsity of a greedy table must be the mean over the model's weights"
        found = f"{table[worst, 0]:.4f} where the shapes of this model give {means[worst]:.4f}"
        raise UserError(must, found, f"{file}, row {worst + 1}", "name the files of this model")
    return table


def _nearest(table: ndarray, target: float, folder: Path, block: int) -> list[float]:
    away = np.abs(table[:, 0] - target)
    row = int(np.argmin(away))
    if away[row] > table[0, 0]:  # a step
        where = f"{folder}, lookup of layer {block}"
        found = f"steps from {table[0, 0]:.4f} to {table[-1, 0]:.4f}"
        raise UserError(f"The greedy table must reach the target {target:g}", found, where, "choose a lower target")
    return table[row, 1:].tolist()
