"""The disk and memory that a run needs, from shapes and a few measured figures."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.compute.sizes import Sizes
from pipeline.estimate.workload import Workload

HISTOGRAM_ROW = 149
"""Compressed bytes of a projection's histogram under one criterion, shared ones counted for each of their projections:
7.0 MB for the 47,040 of the embedded run (55 tokens a sample, 192 features). Wider models fill more bins: 191 at
Llama-3-8B's shapes, hardly more for longer samples (`pipeline/histograms/count_units.py`)."""

SIGNATURE_NUMBER = 3.26
"""Compressed bytes of one of a signature's numbers, the rest of its row included: 4.7 MB for 44,800 rows of the
embedded run, 32 numbers each."""

RESULT_ROW = 24
"""Bytes of one sample at one target: 0.22 MB for 8,960 of the embedded run."""

PROCESS = 2.5e9
"""Bytes of a process that has imported torch, transformers and lm-eval, libraries of a GPU not included."""

_INT32 = 4
_FLOAT32 = 4


@dataclass(frozen=True)
class Space:
    """Bytes."""

    weights: float
    histograms: float
    signatures: float
    results: float
    working: float

    @property
    def tables(self) -> float:
        """Bytes that the run leaves on the disk, besides weights."""
        return self.histograms + self.signatures + self.results

    @property
    def memory(self) -> float:
        """Weights and what a stage holds beside them, at most."""
        return self.weights + self.working


def space(
    sizes: Sizes,
    workload: Workload,
    *,
    criteria: int,
    bins: int,
    signature_dim: int,
    evaluated: int,
    batch: int,
    greedy_tokens: int,
    bytes_per_number: int,
) -> Space:
    """The space of a run that has computed everything.

    Args:
        criteria: number of criteria that capture counts.
        bins: bins of a histogram.
        signature_dim: numbers per block and site of a signature.
        evaluated: rows of the tables of results: samples, of every method at every target, dense included.
        batch: tokens per forward pass.
        greedy_tokens: measured tokens of a group; 0 without greedy.
        bytes_per_number: of weights and activations.
    """
    train = int(workload.is_train.sum())
    scorings = sizes.blocks * len(sizes.block) * criteria
    sites = sizes.blocks * len({linear.site for linear in sizes.block})
    return Space(
        weights=float(sizes.parameters * bytes_per_number),
        histograms=float(train * scorings * HISTOGRAM_ROW),
        signatures=float(workload.samples * sites * signature_dim * SIGNATURE_NUMBER),
        results=float(evaluated * RESULT_ROW),
        working=max(
            _capture(sizes, workload, scorings, bins, batch, bytes_per_number),
            _evaluation(sizes, batch, bytes_per_number),
            _greedy(sizes, greedy_tokens, bytes_per_number),
        ),
    )


def _activations(sizes: Sizes, batch: int, bytes_per_number: int) -> float:
    """One block's at a time: its projections' inputs and outputs; attention never holds all scores."""
    return float(batch * sum(linear.inputs + linear.outputs for linear in sizes.block) * bytes_per_number)


def _capture(sizes: Sizes, load: Workload, scorings: int, bins: int, batch: int, bytes_per_number: int) -> float:
    """Histograms of a batch's samples for the whole model."""
    rows = batch / max(1.0, float((load.prompts + load.right).mean()))
    return _activations(sizes, batch, bytes_per_number) + rows * scorings * bins * _INT32


def _evaluation(sizes: Sizes, batch: int, bytes_per_number: int) -> float:
    """A float32 copy of one site's activation while its scores are compared, and logits of 512 positions."""
    widest = max(linear.inputs for linear in sizes.block)
    logits = 512 * sizes.vocabulary * (bytes_per_number + _FLOAT32)
    return _activations(sizes, batch, bytes_per_number) + batch * widest * _FLOAT32 + logits


def _greedy(sizes: Sizes, tokens: int, bytes_per_number: int) -> float:
    """Inputs of every block and of its attention on all calibration tokens (four times the measured ones), and one
    output on the measured ones."""
    return float(sizes.blocks * sizes.hidden * tokens * (4 + 4 + 1) * bytes_per_number)
