"""Slow, obvious transcription of the greedy objective of microsoft/wina (commit 8153dbf), and its recorded tables.

For one decoder layer on its own, with the dense model's activations as its input:

    threshold   t(s) = icdf(s) of the exact distribution of half-precision scores of ALL calibration tokens; t(0) = 0
    mask        keep x_i where |x_i * w_i| > t, and everything in the first S - int(0.99 S) tokens
    error       sum over samples of  mean over hidden features of  || (dense - masked)[int(0.75 S):, feature] ||_2

The recordings used two samples (measured: with the first two in the order in which `datasets` shuffles, seed 42, errors
agree; with another number they do not) and a step of 0.025 for q.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from datasets import Dataset

from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights

MODES = {"teal": "teal", "wina": "wina_released"}
"""Their criterion -> ours."""
NAMES = ("q", "k", "v", "o", "gate", "up", "down")
STEP = 0.025
SAMPLES = 2


class Recordings(Protocol):
    """What their own code wrote."""

    def table(self, mode, block):
        """The greedy table of a block, a DataFrame with their columns."""

    def sequences(self):
        """Token ids of their calibration sequences, in the order in which they shuffled them."""

    def histogram(self, mode, block, name):
        """Distinct half-precision scores of a projection, ascending, and their float32 counts."""


class FullRecordings:
    """All of it, in a folder of the developers (`tests/parity/record.py`)."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self._histograms = cache(lambda mode: dict(np.load(self.folder / "float32" / mode / "histograms.npz")))

    def table(self, mode, block):
        """See `Recordings`."""
        return pd.read_csv(self.folder / "float32" / mode / "lookup" / f"layer-{block}" / "results.csv")

    def sequences(self):
        """See `Recordings`."""
        stored = json.loads((self.folder / "data" / "sequences.json").read_text())["calib"]
        order = Dataset.from_dict({"number": range(len(stored))}).shuffle(42)["number"]
        return [stored[number] for number in order]

    def histogram(self, mode, block, name):
        """See `Recordings`."""
        key = f"layer{block}.{histogram_key(mode, name)}"
        return tuple(torch.from_numpy(self._histograms(mode)[f"{key}.{part}"]) for part in ("centers", "counts"))


def histogram_key(mode, name):
    """Which of their histograms is a projection's: TEAL's are shared by projections that read the same input."""
    shared = "h2" if name in ("o", "down") else "h1"
    return f"{'self_attn' if name in 'qkvo' else 'mlp'}.{shared if mode == 'teal' else name}"


def dense_prefix(length):
    """Tokens of a call that stay dense."""
    return length - int(0.99 * length)


def icdf(recordings, mode, block, name, sparsity):
    """Their threshold: linear between the two distinct half-precision scores around the rank, in float32."""
    if sparsity == 0:
        return 0.0
    centers, counts = recordings.histogram(mode, block, name)
    rank = sparsity * counts.sum()
    below = counts.cumsum(0)
    position = int(torch.searchsorted(below, rank))
    if position in (0, len(centers)):
        return float(centers[min(position, len(centers) - 1)])
    inside = (rank - below[position - 1]) / (below[position] - below[position - 1])
    return float(centers[position - 1] + inside * (centers[position] - centers[position - 1]))


class ReleasedError:
    """Their error of one layer, an `Objective` of our search. Every choice is a forward pass of the layer per sample.

    Use as a context manager: it takes its hooks off the layer.
    """

    def __init__(self, recordings, loaded, mode, block, grids=None, samples=SAMPLES):
        self._recordings, self._mode, self._block, self._grids = recordings, mode, block, grids
        self._layer = loaded.layers[block]
        self._own = [p for p in projections(loaded.model) if p.block == block]
        self._weights = {p.name: feature_weights(MODES[mode], p.module.weight, p.name) for p in self._own}
        self._thresholds = {}
        self._first = 0
        self._inputs = [_layer_input(loaded, self._layer, ids) for ids in recordings.sequences()[:samples]]
        self._hooks = []

    def __enter__(self):
        self._hooks = [p.module.register_forward_pre_hook(self._mask(p.name)) for p in self._own]
        self._dense = [self._run(call) for call in self._inputs]
        return self

    def __exit__(self, *_):
        for hook in self._hooks:
            hook.remove()

    def errors(self, choices):
        """For our search: the error of every choice of steps on the grids."""
        return [
            self.error([float(grid[steps]) for grid, steps in zip(self._grids, taken, strict=True)])
            for taken in choices
        ]

    def error(self, sparsities, thresholds=None):
        """Their error at seven sparsities, or at given thresholds instead of theirs."""
        total = 0.0
        for dense, masked in self._outputs(sparsities, thresholds):
            difference = (dense - masked)[:, int(dense.shape[1] * (1 - 0.25)) :]
            total += float(torch.norm(difference, dim=1).mean())
        return total

    def _outputs(self, sparsities, thresholds=None):
        """The layer's dense and masked output for every sample. Thresholds are looked up for every candidate."""
        if thresholds is None:
            thresholds = [
                icdf(self._recordings, self._mode, self._block, name, sparsity)
                for name, sparsity in zip(NAMES, sparsities, strict=True)
            ]
        for call, dense in zip(self._inputs, self._dense, strict=True):
            self._thresholds = dict(zip(NAMES, thresholds, strict=True))
            self._first = dense_prefix(dense.shape[1])
            masked = self._run(call)
            self._thresholds = {}
            yield dense, masked

    def _run(self, call):
        args, kwargs = call
        with torch.inference_mode():
            output = self._layer(*args, **kwargs)
        return output[0] if isinstance(output, tuple) else output

    def _mask(self, name):
        def pre_hook(_module, args):
            if not self._thresholds:
                return None
            keep = (args[0] * self._weights[name]).abs() > self._thresholds[name]
            keep[:, : self._first] = True
            return (args[0] * keep,)

        return pre_hook


class PublishedError(ReleasedError):
    """The same procedure with the error of TEAL's Algorithm 1: the relative Frobenius norm, over the last quarter of
    the eligible tokens of every sample."""

    def error(self, sparsities, thresholds=None):
        """Their error at seven sparsities, or at given thresholds instead of theirs."""
        above = below = 0.0
        for dense, masked in self._outputs(sparsities, thresholds):
            measured = math.ceil(0.25 * (dense.shape[1] - dense_prefix(dense.shape[1])))
            above += float((dense - masked)[:, -measured:].double().square().sum())
            below += float(dense[:, -measured:].double().square().sum())
        return math.sqrt(above / below)


def _layer_input(loaded, layer, ids):
    """What the layer is called with in the dense model."""
    seen = {}
    hook = layer.register_forward_pre_hook(
        lambda _module, args, kwargs: seen.update(args=args, kwargs=kwargs), with_kwargs=True
    )
    with torch.inference_mode():
        loaded.decoder(input_ids=torch.tensor([ids]), use_cache=False)
    hook.remove()
    return seen["args"], seen["kwargs"]
